# Ctrl-C while a solver runs.
#
# Python's signal handler only sets a flag until Python runs again, so a long solve would swallow
# Ctrl-C. The right-hand side therefore asks Python now and then (about 20 times a second) whether
# a signal is waiting, through `PyErr_CheckSignals`. Nothing is asked where Python is not the host.

# Each right-hand side counts for itself, so that threads do not wait for each other. Those of an
# ensemble look at its stop signal as well.

mutable struct Poll
    left::Int       # calls until the next look
    stride::Int     # calls between two looks
    last::UInt64    # when the last look was, in ns
    stop::Ptr{Int}  # a number that is not 0 when the solve is to end; or C_NULL
end

Poll(stop = C_NULL) = Poll(1000, 1000, time_ns(), stop)

const POLL = Poll()  # of what has none of its own
const POLL_PERIOD = 50_000_000  # ns

mutable struct Signals
    check::Ptr{Cvoid}
    clear::Ptr{Cvoid}
end

const SIGNALS = Signals(C_NULL, C_NULL)

"""
    set_interrupt_check(check, clear)

Addresses of Python's `PyErr_CheckSignals` and `PyErr_Clear`. Zero turns the checks off.
"""
function set_interrupt_check(check::Integer, clear::Integer)
    SIGNALS.clear = Ptr{Cvoid}(UInt(clear))
    SIGNALS.check = Ptr{Cvoid}(UInt(check))
    return nothing
end

"Whether Ctrl-C came since the last time."
function signalled()
    # Python handles signals, and holds its lock, on the thread that called us
    (SIGNALS.check == C_NULL || Threads.threadid() != 1) && return false
    ccall(SIGNALS.check, Cint, ()) == 0 && return false
    ccall(SIGNALS.clear, Cvoid, ())
    return true
end

@inline function poll(poll::Poll = POLL)
    poll.left -= 1
    poll.left < 0 && look(poll)
    return nothing
end

function start_polling()
    POLL.last = time_ns()
    POLL.left = POLL.stride
    return nothing
end

@noinline function look(poll::Poll)
    now = time_ns()
    passed = max(now - poll.last, UInt64(1))
    # keep the period whatever one call costs: from nanoseconds to seconds
    poll.stride = clamp(floor(Int, poll.stride * (POLL_PERIOD / passed)), 1, 10_000_000)
    poll.left = poll.stride
    poll.last = now
    poll.stop != C_NULL && unsafe_load(poll.stop) != 0 && throw(InterruptException())
    signalled() && throw(InterruptException())
    return nothing
end
