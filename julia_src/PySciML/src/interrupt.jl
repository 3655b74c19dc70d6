# Ctrl-C while a solver runs.
#
# Python's signal handler only sets a flag until Python runs again, so a long solve would swallow
# Ctrl-C. The right-hand side therefore asks Python now and then (about 20 times a second) whether
# a signal is waiting, through `PyErr_CheckSignals`. Nothing is asked where Python is not the host.

mutable struct Poll
    left::Int      # calls until the next look
    stride::Int    # calls between two looks
    last::UInt64   # when the last look was, in ns
    check::Ptr{Cvoid}
    clear::Ptr{Cvoid}
end

const POLL = Poll(1000, 1000, 0, C_NULL, C_NULL)
const POLL_PERIOD = 50_000_000  # ns

"""
    set_interrupt_check(check, clear)

Addresses of Python's `PyErr_CheckSignals` and `PyErr_Clear`. Zero turns the checks off.
"""
function set_interrupt_check(check::Integer, clear::Integer)
    POLL.clear = Ptr{Cvoid}(UInt(clear))
    POLL.check = Ptr{Cvoid}(UInt(check))
    return nothing
end

@inline function poll()
    POLL.left -= 1
    POLL.left < 0 && look()
    return nothing
end

function start_polling()
    POLL.last = time_ns()
    POLL.left = POLL.stride
    return nothing
end

@noinline function look()
    now = time_ns()
    passed = max(now - POLL.last, UInt64(1))
    # keep the period whatever one call costs: from nanoseconds to seconds
    POLL.stride = clamp(floor(Int, POLL.stride * (POLL_PERIOD / passed)), 1, 10_000_000)
    POLL.left = POLL.stride
    POLL.last = now
    # Python handles signals, and holds its lock, on the thread that called us
    (POLL.check == C_NULL || Threads.threadid() != 1) && return nothing
    if ccall(POLL.check, Cint, ()) != 0
        ccall(POLL.clear, Cvoid, ())
        throw(InterruptException())
    end
    return nothing
end
