# Jumps in the solution of an ODE or SDE.

"""
    JumpDiffusion(base, rates, numbers, varying, affects, marks, save_both)

`base` is the model of the equation. Jumps come in groups: those whose rates vary between jumps, and
those whose rates do not. Of each group there are its rates, "f" of one of `rates`, and the numbers
of its jumps (from 0). `affects` has for each jump "f", the state after it, a function of the
parameters with its marks behind them; `marks` says how each mark is drawn, "normal" or "uniform".
`save_both`: save the states on both sides of a jump.
"""
struct JumpDiffusion <: AbstractModel
    n::Int
    base::AbstractModel
    rates::Vector{Model}
    numbers::Vector{Vector{Int}}  # from 1
    varying::Vector{Bool}
    affects::Vector{Model}
    marks::Vector{Vector{Symbol}}
    save_both::Bool
end

function JumpDiffusion(base::AbstractModel, rates, numbers, varying, affects, marks, save_both)
    return JumpDiffusion(
        base.n, base, Vector{Model}(rates), [Vector{Int}(group) .+ 1 for group in numbers],
        Vector{Bool}(varying), Vector{Model}(affects), [Symbol.(names) for names in marks],
        save_both
    )
end

"What happened in a run: numbers of jumps, times, states before and after; and what stopped it."
mutable struct JumpRecord
    const numbers::Vector{Int}
    const times::Vec
    const before::Vector{Vec}
    const after::Vector{Vec}
    bad::BadPropensity
end

JumpRecord() = JumpRecord(Int[], Float64[], Vec[], Vec[], BadPropensity(0, NaN))

"A model with the random numbers of one solve, and the record of its jumps."
struct SeededJumps <: AbstractModel
    n::Int
    model::JumpDiffusion
    base::AbstractModel
    rng::Xoshiro
    record::JumpRecord
end

# the noise has a stream of its own, the one that it has without jumps
function PySciML.seeded(model::JumpDiffusion, seed::Int, trajectory::Int)
    base = model.base isa Model ? model.base : PySciML.seeded(model.base, seed, trajectory)
    rng = Random.seed!(Xoshiro(0), UInt64[seed, trajectory, 1])
    return SeededJumps(model.n, model, base, rng, JumpRecord())
end

PySciML.watch_of(seeded::SeededJumps, ::Plan) = seeded.record
PySciML.watching(::JumpRecord) = (;)

"The function of the equation, in which there are jumps."
struct Jumping{F}
    f::F
end

PySciML.poll_of(jumping::Jumping) = PySciML.poll_of(jumping.f)

PySciML.function_of(seeded::SeededJumps, kind::Symbol, full::Bool) =
    Jumping(PySciML.function_of(seeded.base, kind, full))

PySciML.own_options(jumping::Jumping, seeded::SeededJumps) =
    PySciML.own_options(jumping.f, seeded.base)

"`rate(u, p, t)`: how often any jump of a group happens."
struct TotalRate{B}
    body::B
    work::Vec
    each::Vec
    numbers::Vector{Int}
end

function (k::TotalRate)(u::Vec, p::Vec, t::Float64)
    k.body(k.each, u, p, t, k.work)
    total = 0.0
    for i in eachindex(k.each)
        total += checked(k.each[i], k.numbers[i])
    end
    return total
end

(k::TotalRate)(u, p, t) = k(PySciML.plain(u), PySciML.plain(p), Float64(t))

"`affect!(integrator)`: one jump of a group, chosen by the rates."
struct OneOf{R <: TotalRate, B}
    rate::R
    affects::Vector{B}
    works::Vector{Vec}
    marks::Vector{Vector{Symbol}}
    record::JumpRecord
    rng::Xoshiro
end

"The steps of maxiters are used up. OrdinaryDiffEqCore does not look after a step with a callback."
struct OutOfSteps <: Exception end

function (k::OneOf)(integrator)
    integrator.iter > integrator.opts.maxiters && throw(OutOfSteps())
    u, p, t = integrator.u, integrator.p, integrator.t
    i = chosen(k.rate.each, k.rate(u, p, t) * rand(k.rng))
    before = copy(u)
    drawn = Float64[mark === :normal ? randn(k.rng) : rand(k.rng) for mark in k.marks[i]]
    k.affects[i](u, before, [p; drawn], t, k.works[i])
    push!(k.record.numbers, k.rate.numbers[i])
    push!(k.record.times, t)
    push!(k.record.before, before)
    push!(k.record.after, copy(u))
    return nothing
end

"The first entry by which the sum of the rates passes `part`."
function chosen(rates::Vec, part::Float64)
    sum = 0.0
    for (i, rate) in enumerate(rates)
        sum += rate
        part < sum && return i
    end
    return findlast(>(0.0), rates)
end

function PySciML.problem_of(
        jumping::Jumping, seeded::SeededJumps, u0::Vec, p::Vec, t0::Float64, t1::Float64
    )
    base = PySciML.problem_of(jumping.f, seeded.base, u0, p, t0, t1)
    save_positions = (seeded.model.save_both, seeded.model.save_both)
    varying = Tuple(
        VariableRateJump(group.rate, group; save_positions) for group in groups(seeded, true)
    )
    constant = Tuple(ConstantRateJump(group.rate, group) for group in groups(seeded, false))
    return JumpProblem(
        base, Direct(), JumpSet(varying, constant, nothing, nothing); seeded.rng, save_positions,
        vr_aggregator = VR_Direct(),
    )
end

function groups(seeded::SeededJumps, varying::Bool)
    model = seeded.model
    which = findall(==(varying), model.varying)
    return [group(seeded, model.rates[i], model.numbers[i]) for i in which]
end

function group(seeded::SeededJumps, rates::Model, numbers::Vector{Int})
    model = seeded.model
    body(which) = PySciML.wrap(Body, which.functions[:f][1], false)
    work(which) = copy(which.functions[:f][2])
    rate = TotalRate(body(rates), work(rates), zeros(length(numbers)), numbers)
    affects = model.affects[numbers]
    return OneOf(
        rate, body.(affects), work.(affects), model.marks[numbers], seeded.record, seeded.rng
    )
end

function PySciML.integrate(
        jumping::J, plan::Plan, u0::Vec, p::Vec, t0::Float64, t1::Float64, ::Any, more::NamedTuple
    ) where {J <: Jumping}
    (; alg, abstol, reltol, save_idxs) = plan
    integrator = PySciML.start(jumping, alg, plan, abstol, reltol, save_idxs, u0, p, t0, t1, more)
    foreach(callback -> begin_at!(callback.condition, t0), integrator.opts.callback.continuous_callbacks)
    try
        CommonSolve.solve!(integrator)
    catch error
        retcode = stopped(plan.model.record, error)
        retcode === nothing && rethrow()
        integrator.sol = SciMLBase.solution_new_retcode(integrator.sol, retcode)
    end
    return integrator
end

"The retcode of what stopped a run, noted; nothing for other errors."
stopped(::JumpRecord, ::OutOfSteps) = ReturnCode.MaxIters
stopped(::JumpRecord, ::Any) = nothing
stopped(record::JumpRecord, bad::BadPropensity) = (record.bad = bad; ReturnCode.Unstable)

"""
Integrate the rates from `t0`.

JumpProcesses 9.29 begins at 0, wherever tspan does: behind it, jumps are lost.
"""
function begin_at!(rates::VR_DirectEventCache, t0::Float64)
    rates.prev_time = t0
    rates.current_time = t0
    return nothing
end

"Numbers of the jumps of a run (from 0), their times, and the states before and after, in columns."
function jumps_of(outcome::Outcome)
    (; numbers, times, before, after) = outcome.watch
    n = length(outcome.solution.prob.u0)
    return numbers .- 1, times, columns(before, n), columns(after, n)
end

columns(states::Vector{Vec}, n::Int) = isempty(states) ? zeros(n, 0) : reduce(hcat, states)

bad_of(record::JumpRecord, _) = record.bad
bad_of(::Nothing, run::JumpRun) = run.bad

"Which rate stopped an Unstable solve, from 0 (-1 for none), and its value."
function bad_rate(outcome::Outcome)
    bad = bad_of(outcome.watch, outcome.solution)
    return bad.reaction - 1, bad.value
end
