# Ensembles: the trajectories of a batch, dealt out to threads one by one.
#
# Each is solved by a fresh integrator. So it is to the last bit what `solve` gives, whichever thread
# takes it and whatever that thread has solved before; `reinit!` does not do that for methods that
# switch or remember steps, and saves less than a tenth of a trajectory of a hundred microseconds.

"""
Where trajectories start, and what becomes of them. A matrix of one column is for all of them.

The noise of the k-th is that of number `first + k - 1` of the `seed`; -1 is no seed.
"""
struct Batch
    seed::Int
    first::Int
    u0::Matrix{Float64}
    p::Matrix{Float64}
    u::Array{Float64, 3}  # (components, times, trajectories), NaN where nothing was saved
    codes::Vector{Int}    # indices of retcodes, or INTERRUPTED
    sums::Vector{Int}     # nf, njacs, nw, nsolve, naccept, nreject of all together
end

column(rows::Matrix{Float64}, k::Int) = rows[:, min(k, size(rows, 2))]

"What numbers do to a trajectory, and not a wrong call to all of them."
const NumericalError = Union{
    DomainError, InexactError, DivideError, SingularException, PosDefException, LAPACKException,
    ZeroPivotException,
}

"""
    solve_many(
        plan, seed, first, u0, u0_rows, p, p_rows, np, t0, t1, u, codes, sums, count, stop, threads, distributed,
        full
    )

Solve `count` trajectories from `u0_rows` initial states at address `u0` and `p_rows` rows of `np`
parameters at `p`. States go to `u`, retcodes to `codes`, the work of all to `sums`. As soon as the
number at address `stop` is not 0 the trajectories that are not done are left. `threads`: 0 for all
that Julia has. `distributed`: in other processes instead. Zero, or FAILED.
"""
function solve_many(
        plan::Plan, seed::Int, first::Int, u0::Int, u0_rows::Int, p::Int, p_rows::Int, np::Int,
        t0::Float64, t1::Float64, u::Int, codes::Int, sums::Int, count::Int, stop::Int,
        threads::Int, distributed::Bool, full::Bool
    )
    floats(address, shape...) = unsafe_wrap(Array, Ptr{Float64}(address), shape)
    ints(address, n) = unsafe_wrap(Array, Ptr{Int}(address), n)
    batch = Batch(
        seed, first,
        floats(u0, plan.model.n, u0_rows), floats(p, np, p_rows),
        floats(u, width(plan), length(plan.saveat), count), ints(codes, count), ints(sums, 6),
    )
    most = threads == 0 ? Threads.nthreads() : threads
    signal = Ptr{Int}(stop)
    try
        if distributed
            Base.invokelatest(solve_distributed!, batch, plan, t0, t1, signal, full)
        else
            solve_batch!(batch, plan, t0, t1, signal, min(most, count), full)
        end
        return 0
    catch error
        return note(error)
    end
end

function solve_batch!(
        batch::Batch, plan::Plan, t0::Float64, t1::Float64, stop::Ptr{Int}, threads::Int, full::Bool
    )
    f = function_of(of_trajectory(plan, batch, 1).model, plan.kind, full)
    next = Threads.Atomic{Int}(1)
    work() = Base.invokelatest(take_trajectories!, batch, next, f, plan, t0, t1, stop)
    others = [Threads.@spawn work() for _ in 2:threads]
    try
        batch.sums .= work()
    finally
        await(others, stop)
    end
    foreach(task -> batch.sums .+= result(task), others)
    return nothing
end

"The plan for the k-th trajectory."
function of_trajectory(plan::Plan, batch::Batch, k::Int)
    batch.seed < 0 && return plan
    return with_model(plan, seeded(plan.model, batch.seed, batch.first + k - 1))
end

"Wait for tasks. Ctrl-C sets `stop`, and calls `tell`."
await(tasks, stop::Ptr{Int}) = await(Returns(nothing), tasks, stop)

function await(tell, tasks, stop::Ptr{Int})
    while !all(istaskdone, tasks)
        sleep(0.001)
        if signalled()
            unsafe_store!(stop, 1)
            tell()
        end
    end
    return nothing
end

result(task::Task) = istaskfailed(task) ? throw(task.exception) : fetch(task)

"Solve trajectories until none is left. What work it took."
function take_trajectories!(
        batch::Batch, next::Threads.Atomic{Int}, shared, plan::Plan, t0::Float64, t1::Float64,
        stop::Ptr{Int}
    )
    f = deepcopy(shared)  # made here: threads that write to neighbouring memory slow each other
    poll_of(f).stop = stop
    sums, last = zeros(Int, 6), length(batch.codes)
    try
        while (k = Threads.atomic_add!(next, 1)) <= last
            batch.codes[k] = trajectory!(batch, k, f, plan, t0, t1, stop, sums)
        end
    catch
        next[] = last + 1  # the other threads need not go on
        rethrow()
    end
    return sums
end

function trajectory!(
        batch::Batch, k::Int, f, plan::Plan, t0::Float64, t1::Float64, stop::Ptr{Int}, sums
    )
    place = view(batch.u, :, :, k)
    fill!(place, NaN)
    unsafe_load(stop) == 0 || return INTERRUPTED
    try
        own = of_trajectory(plan, batch, k)
        integrator = integrate(
            f, own, column(batch.u0, k), column(batch.p, k), t0, t1, runner(f, own),
            watching(watch_of(own.model, own))
        )
        return keep!(place, sums, integrator, plan.saveat)
    catch error
        error isa NumericalError && return retcode_index(SciMLBase.ReturnCode.Failure)
        error isa InterruptException || rethrow()
        unsafe_store!(stop, 1)
        return INTERRUPTED
    end
end

"States to `place` and the work to `sums`. The retcode's index."
function keep!(place, sums::Vector{Int}, integrator, saveat::Vec)
    (; t, u, stats, retcode) = integrator.sol
    keep_states!(place, t, u, saveat, retcode)
    sums .+= (stats.nf, stats.njacs, stats.nw, stats.nsolve, stats.naccept, stats.nreject)
    return retcode_index(retcode)
end

function keep_states!(place, times::Vec, states::Vector, saveat::Vec, retcode)
    whole = retcode == SciMLBase.ReturnCode.Success
    for (i, (t, state, wanted)) in enumerate(zip(times, states, saveat))
        # where a solve stopped early is saved, too; a fixed step gets to its times by rounding
        (whole || isapprox(t, wanted; rtol = 1e-12)) && copyto!(view(place, :, i), state)
    end
    return nothing
end
