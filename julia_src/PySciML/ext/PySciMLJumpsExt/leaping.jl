# Many reactions at a time.

"`rate(out, u, p, t)` of all reactions."
struct Propensities{B}
    body::B
    work::Vec
    poll::Poll
end

function (k::Propensities)(out::Vec, u::Vec, p::Vec, t::Float64)
    PySciML.poll(k.poll)
    k.body(out, u, p, t, k.work)
    # leaps may be too long, and lead to negative numbers, of which nothing reacts
    out .= max.(out, 0.0)
    return nothing
end

"`c(du, u, p, t, counts, mark)`: what so many of each reaction change."
struct Counted
    net::Matrix{Float64}
end

(k::Counted)(du, u, p, t, counts, mark) = (copyto!(du, transpose(k.net) * counts); nothing)

Base.copy(k::Propensities) = Propensities(k.body, copy(k.work), Poll(k.poll.stop))
Base.deepcopy_internal(k::Propensities, ::IdDict) = copy(k)

"Reactions to leap over."
struct Leaps{J}
    jump::J
end

PySciML.poll_of(leaps::Leaps) = leaps.jump.rate.poll

function build_leaps(model::ReactionModel, full::Bool)
    f, work = model.all.functions[:f]
    propensities = Propensities(PySciML.wrap(Body, f, full), copy(work), Poll())
    return Leaps(RegularJump{true}(propensities, Counted(model.net), size(model.net, 1)))
end

# SimpleTauLeaping wants a dt that divides the span. So methods get a span for each output time, in
# units of their leaps.
function PySciML.integrate(
        leaps::Leaps, plan::Plan, u0::Vec, p::Vec, t0::Float64, t1::Float64, ::Any, ::NamedTuple
    )
    run = JumpRun(plan)
    every = isempty(plan.saveat) && plan.save_everystep
    times = every ? [t0, t1] : save_times(plan, t0, t1)
    u, t = u0, t0
    first(times) == t0 && save!(run, t0, u)
    for stop in unique!([times; t1])
        stop > t || continue
        count = max(1, ceil(Int, (stop - t) / plan.dt * (1.0 - 1.0e-9)))
        tau = (stop - t) / count
        states = leap(leaps, plan, u, p, tau, count)
        if length(states) <= count
            run.retcode, run.reached = ReturnCode.ConvergenceFailure, t
            return run
        end
        every && foreach(k -> save!(run, t + k * tau, states[k + 1]), 1:(count - 1))
        u, t = last(states), stop
        stop in times && save!(run, stop, u)
        run.jumps += count
    end
    run.reached = t1
    return run
end

"The states after so many leaps; fewer, where an implicit one cannot be found."
function leap(leaps::Leaps, plan::Plan, u::Vec, p::Vec, tau::Float64, count::Int)
    rates(out, u, p, t) = (leaps.jump.rate(out, u, p, 0.0); out .*= tau)
    jump = RegularJump{true}(rates, leaps.jump.c, leaps.jump.numjumps)
    problem = DiscreteProblem(u, (0.0, Float64(count)), p)
    leaping = JumpProblem(problem, PureLeaping(), JumpSet(jump); plan.model.rng)
    return SciMLBase.solve(leaping, plan.alg.alg; dt = 1.0, step_options(plan.alg.alg, plan)...).u
end
