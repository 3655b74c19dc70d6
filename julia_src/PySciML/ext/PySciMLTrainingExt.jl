"""
Whole optimisations inside Julia: theta -> initial states and parameters -> solves -> loss, and back
through the adjoints, iterated by Optimization.jl.

Python calls `objective` and `add_solve!`, and then `adam!` or `quasi_newton!`, one for each stage;
see `pysciml.engines.julia.training` for the other side, and `pysciml.train.objective` for the
functions that make up an objective.
"""
module PySciMLTrainingExt

using LinearAlgebra: norm
using Optimization: OptimizationFunction, OptimizationProblem
using OptimizationOptimisers: Optimisers
using OptimizationOptimJL: Optim
using PySciML: PySciML, Body, RHS, Vec, note
using SciMLBase: SciMLBase, ReturnCode
using SparseArrays: spzeros

# -- the objective ----------------------------------------------------------------------------

"One initial value problem; its states have the entries `part` of the vector of all states."
struct Shot
    recipe::Any
    t0::Float64
    t1::Float64
    part::UnitRange{Int}
end

struct Objective
    n::Int
    shots::Vector{Shot}
    starts::RHS{Body}
    starts_vjp::RHS{Body}
    loss::RHS{Body}
    full::Bool
    initial::Vec     # starts(theta): each u0, then p
    cotangents::Vec  # in the layout of `initial`
    states::Vec
    losses::Vec      # loss(states, theta): [L, dL/dstates, dL/dtheta]
    pulled::Vec
end

"""
    objective(size, n, initial, saved, full, starts..., starts_vjp..., loss...)

Of `size` unknowns, for solves of `n` states that `add_solve!` adds; `initial` and `saved` count
what `starts` gives and what all solves save. Each function is given by its text, name and work.
"""
function PySciML.objective(
        size, n, initial, saved, full, starts, starts_name, starts_work, starts_vjp,
        starts_vjp_name, starts_vjp_work, loss, loss_name, loss_work
    )
    return Objective(
        n, Shot[], kernel(starts, starts_name, starts_work),
        kernel(starts_vjp, starts_vjp_name, starts_vjp_work), kernel(loss, loss_name, loss_work),
        full, zeros(initial), zeros(initial), zeros(saved), zeros(1 + saved + size), zeros(size),
    )
end

"Add a solve that saves at `points` times."
function PySciML.add_solve!(o::Objective, recipe, t0, t1, points)
    start = isempty(o.shots) ? 0 : last(last(o.shots).part)
    push!(o.shots, Shot(recipe, t0, t1, (start + 1):(start + points * o.n)))
    return nothing
end

kernel(text, name, work) =
    RHS(Base.invokelatest(Body, PySciML.evaluate(text, name)), Vec(work))

"A trial that has no value, and why."
struct FailedTrial <: Exception
    reason::String
    shot::Int  # from 1; 0 when it was not a solve
end

const NOTHING = Float64[]

"Value at `theta`; the gradient goes to `gradient`. Throws `FailedTrial`."
function evaluate!(gradient::Vec, o::Objective, theta::Vec)
    o.starts(o.initial, theta, NOTHING, 0.0)
    p = o.initial[(length(o.shots) * o.n + 1):end]
    tapes = [shoot!(o, k, p) for k in eachindex(o.shots)]
    o.loss(o.losses, o.states, theta, 0.0)
    fill!(o.cotangents, 0.0)
    foreach((k, tape) -> pull!(o, k, tape), eachindex(tapes), tapes)
    o.starts_vjp(o.pulled, theta, o.cotangents, 0.0)
    gradient .= view(o.losses, (2 + length(o.states)):length(o.losses)) .+ o.pulled
    value = o.losses[1]
    isfinite(value) && all(isfinite, gradient) ||
        throw(FailedTrial("the loss or its gradient is not finite", 0))
    return value
end

function shoot!(o::Objective, k::Int, p::Vec)
    shot = o.shots[k]
    u0 = o.initial[((k - 1) * o.n + 1):(k * o.n)]
    tape = PySciML.tape(shot.recipe, u0, p, shot.t0, shot.t1, o.full)
    tape.retcode === ReturnCode.Success || throw(FailedTrial(String(Symbol(tape.retcode)), k))
    at = first(shot.part)
    for state in tape.states
        copyto!(o.states, at, state, 1, o.n)
        at += o.n
    end
    return tape
end

function pull!(o::Objective, k::Int, tape)
    by_states = o.losses[shot_range(o.shots[k])]
    u0 = view(o.cotangents, ((k - 1) * o.n + 1):(k * o.n))
    p = view(o.cotangents, (length(o.shots) * o.n + 1):length(o.cotangents))
    du0, dp = Vec(undef, length(u0)), Vec(undef, length(p))
    try
        PySciML.pull!(tape, reshape(by_states, o.n, :), du0, dp)
    catch error
        error isa PySciML.BackwardFailure || rethrow()
        throw(FailedTrial(sprint(showerror, error), k))
    end
    u0 .= du0
    p .+= dp
    return nothing
end

shot_range(shot::Shot) = 1 .+ shot.part

# -- evaluations that never fail --------------------------------------------------------------

"""
A failed trial costs more than any that worked, the more the farther it is from the last one that
did, with a gradient as long as that one's. The first trial has to work. (As in
`pysciml.train.loop.Trials`.)
"""
mutable struct Trials
    const objective::Objective
    good::Vec
    slope::Vec
    worst::Float64
end

Trials(objective::Objective) = Trials(objective, NOTHING, NOTHING, -Inf)

function (trials::Trials)(gradient::Vec, theta::Vec)
    try
        value = evaluate!(gradient, trials.objective, theta)
        trials.good, trials.slope = copy(theta), copy(gradient)
        trials.worst = max(value, trials.worst)
        return value
    catch error
        error isa FailedTrial && trials.worst > -Inf || rethrow()
        return penalty!(gradient, trials, theta)
    end
end

function penalty!(gradient::Vec, trials::Trials, theta::Vec)
    gradient .= theta .- trials.good
    distance, steepness = map(x -> iszero(x) ? 1.0 : x, (norm(gradient), norm(trials.slope)))
    gradient .*= steepness / distance
    return trials.worst + 0.5 * steepness * distance
end

# -- the stages -------------------------------------------------------------------------------

"""
What is told of each iteration: theta is written to the address `buffer`, and the C function at
`report` is called with the value. It returns 0 to go on, 1 to end the stage.
"""
struct Report
    report::Ptr{Cvoid}
    buffer::Ptr{Float64}
end

function (r::Report)(value::Float64, theta::Vec)
    unsafe_copyto!(r.buffer, pointer(theta), length(theta))
    return ccall(r.report, Cint, (Cdouble,), value) != 0
end

const FAILED_TRIAL = -3

"Run a stage; zero, or what Python raises: INTERRUPTED, FAILED, FAILED_TRIAL - shot."
function guarded(stage)
    PySciML.start_polling()
    try
        Base.invokelatest(stage)
        return 0
    catch error
        error isa FailedTrial || return note(error)
        PySciML.LAST_ERROR[] = ("FailedTrial", error.reason)
        return FAILED_TRIAL - error.shot
    end
end

function problem(trials::Trials, theta::Vec)
    n = length(theta)
    scratch = similar(theta)
    f = OptimizationFunction{true}(
        (theta, _) -> trials(scratch, theta);
        grad = (gradient, theta, _) -> (trials(gradient, theta); nothing),
        fg = (gradient, theta, _) -> trials(gradient, theta),
        hess_prototype = spzeros(n, n)  # else OptimizationOptimJL makes a dense one, unused
    )
    return OptimizationProblem(f, theta)
end

"""
    adam!(objective, theta, rates, beta1, beta2, epsilon, clip, report, buffer) -> Int

Adam with a step size for each iteration. `clip` is the longest gradient, or `nothing`.
"""
function PySciML.adam!(o::Objective, theta, rates, beta1, beta2, epsilon, clip, report, buffer)
    tell = Report(Ptr{Cvoid}(UInt(report)), Ptr{Float64}(UInt(buffer)))
    rates = Vec(rates)
    rule = Optimisers.Adam(first(rates), (beta1, beta2), epsilon)
    clip === nothing || (rule = Optimisers.OptimiserChain(Optimisers.ClipNorm(clip), rule))
    function callback(state, value)
        Optimisers.adjust!(state.original, rates[state.iter])
        return tell(value, state.u)
    end
    return guarded() do
        SciMLBase.solve(
            problem(Trials(o), Vec(theta)), rule; callback, maxiters = length(rates),
            save_best = false
        )
    end
end

"""
    quasi_newton!(objective, theta, memory, iterations, tolerance, report, buffer) -> Int

L-BFGS that remembers `memory` steps, or BFGS for `nothing`. It ends when an iteration lowers the
value by less than `tolerance` of it.
"""
function PySciML.quasi_newton!(o::Objective, theta, memory, iterations, tolerance, report, buffer)
    tell = Report(Ptr{Cvoid}(UInt(report)), Ptr{Float64}(UInt(buffer)))
    method = memory === nothing ? Optim.BFGS() : Optim.LBFGS(; m = Int(memory))
    last_value = Inf
    function callback(state, value)
        state.iter == 1 && return false  # the initial state, before any iteration
        enough = last_value - value <= tolerance * abs(value)
        last_value = value
        return tell(value, state.u) || enough
    end
    return guarded() do
        SciMLBase.solve(
            problem(Trials(o), Vec(theta)), method; callback, maxiters = Int(iterations),
            extended_trace = false, g_abstol = 0.0, show_warnings = false
        )
    end
end

end
