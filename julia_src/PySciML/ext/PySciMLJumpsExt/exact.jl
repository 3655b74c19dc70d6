# One jump after the other.

"The times and states of a solve that JumpProcesses or this package stepped through."
mutable struct JumpRun
    const t::Vec
    const u::Vector{Vec}
    const kept::Vector{Int}  # flat indices
    retcode::ReturnCode.T
    jumps::Int
    reached::Float64
    bad::BadPropensity  # why it is Unstable
end

JumpRun(plan::Plan) = JumpRun(
    Float64[], Vec[], something(plan.save_idxs, collect(1:plan.model.n)), ReturnCode.Success, 0, 0.0,
    BadPropensity(0, NaN)
)

function save!(run::JumpRun, t::Float64, u::Vec)
    push!(run.t, t)
    push!(run.u, u[run.kept])
    return nothing
end

function PySciML.integrate(
        reactions::Reactions, plan::Plan, u0::Vec, p::Vec, t0::Float64, t1::Float64, ::Any, ::NamedTuple
    )
    run = JumpRun(plan)
    try
        integrator = stepper(reactions, plan, u0, p, t0, t1)
        follow!(run, integrator, plan, t0, t1, reactions.poll)
    catch error
        error isa BadPropensity || rethrow()
        run.retcode, run.bad = ReturnCode.Unstable, error
        isempty(run.t) && first(save_times(plan, t0, t1)) == t0 && save!(run, t0, u0)
    end
    return run
end

save_times(plan::Plan, t0, t1) = isempty(plan.saveat) ? [t0, t1] : plan.saveat

function stepper(reactions::Reactions, plan::Plan, u0::Vec, p::Vec, t0::Float64, t1::Float64)
    (; model, rng) = plan.model
    jumps = JumpSet((), reactions.jumps, nothing, mass_action(model, p))
    problem = JumpProblem(
        DiscreteProblem(u0, (t0, t1), p), plan.alg, jumps; rng, save_positions = (false, false),
        dep_graph = reactions.dependent, vartojumps_map = reactions.readers,
        jumptovars_map = reactions.changed,
    )
    return CommonSolve.init(problem, SSAStepper(); save_start = false, save_end = false)
end

function follow!(
        run::JumpRun, integrator::I, plan::Plan, t0::Float64, t1::Float64, poll::Poll
    ) where {I}
    every = isempty(plan.saveat) && plan.save_everystep
    times = every ? [t0, t1] : save_times(plan, t0, t1)
    next = 1
    every && (save!(run, t0, integrator.u); next = 2)
    while JumpProcesses.should_continue_solve(integrator)
        if run.jumps == plan.maxiters
            run.retcode = ReturnCode.MaxIters
            run.reached = integrator.t
            return nothing
        end
        # a path rests until its next jump
        while next <= length(times) && times[next] < integrator.tstop
            save!(run, times[next], integrator.u)
            next += 1
        end
        PySciML.poll(poll)
        run.reached = integrator.tstop
        CommonSolve.step!(integrator)
        run.jumps += 1
        every && save!(run, integrator.t, integrator.u)
    end
    while next <= length(times)
        save!(run, times[next], integrator.u)
        next += 1
    end
    run.reached = t1
    return nothing
end

function PySciML.report!(facts::Vector{Int}, reached::Int, run::JumpRun, ::Nothing)
    facts .= 0
    facts[1] = length(run.t)
    facts[2] = length(run.kept)
    facts[3] = PySciML.retcode_index(run.retcode)
    facts[8] = run.jumps
    unsafe_store!(Ptr{Float64}(reached), run.reached, 1)
    return Outcome(run, length(run.kept), nothing)
end

function PySciML.keep!(place, sums::Vector{Int}, run::JumpRun, saveat::Vec)
    PySciML.keep_states!(place, run.t, run.u, saveat, run.retcode)
    sums[5] += run.jumps
    return PySciML.retcode_index(run.retcode)
end
