# Solving, and keeping what the way back needs. Python calls `recipe`, `solve`, `fetch!` and `pull!`;
# see `pysciml.engines.julia.adjoint` for the other side.

"A plan and the way in which it is differentiated: a `DiscreteAdjoint`, or a `Continuous` one."
struct Recipe{M}
    plan::Plan
    method::M
    checkpointing::Union{Nothing, Bool}
    abstol::Float64
    reltol::Float64
end

"One of SciMLSensitivity's adjoint methods, by name; the extension PySciMLSensitivityExt has them."
struct Continuous{Name} end

"""
    recipe(plan, method, checkpointing, abstol, reltol)

A plan with the adjoint method that differentiates it, for `solve` and `tape`: a `DiscreteAdjoint`,
or the name of a method of SciMLSensitivity. `checkpointing`: keep about the square root of the
number of steps and solve again between them; `nothing`: when all steps would take much memory.
`abstol` and `reltol` of the backward solve: `nothing` for the plan's own.
"""
recipe(plan::Plan, name::AbstractString, rest...) =
    recipe(plan, Continuous{Symbol(name)}(), rest...)
recipe(plan::Plan, method, checkpointing, abstol, reltol) = Recipe(
    plan, method, checkpointing, Float64(something(abstol, minimum(plan.abstol))),
    Float64(something(reltol, minimum(plan.reltol))),
)

"Whether a method runs along the steps of the solve; BacksolveAdjoint has the saved states alone."
keeps_steps(method) = true
keeps_steps(::Continuous{:BacksolveAdjoint}) = false

"""
Measured on a stiff problem of two states: InterpolatingAdjoint fails, or is wrong by 3 % after a
thousand times the work; solving backwards is unstable.
"""
is_for_stiff(method) = true
is_for_stiff(::Continuous{:InterpolatingAdjoint}) = false
is_for_stiff(::Continuous{:BacksolveAdjoint}) = false

"The same, but what it saves are the states at `times`."
function saving_at(r::Recipe, times)
    plan = with(r.plan; saveat = Vec(times), save_everystep = true, dense = false)
    return Recipe(plan, r.method, r.checkpointing, r.abstol, r.reltol)
end

"What an adjoint runs along: a solution with dense output, or with the saved states alone."
struct Trajectory{S}
    solution::S
    steps::Vec  # times of all steps
    implicit::Bool  # whether an implicit method did some of them
end

"""
States after every `stride`-th step. The stride doubles as steps add up, so that there are about
as many of them as there are steps from one to the next.
"""
mutable struct Checkpoints
    const t::Vec
    const u::Vector{Vec}
    steps::Int
    stride::Int
end

function keep!(c::Checkpoints, t, u)
    c.steps += 1
    c.steps % c.stride == 0 || return nothing
    push!(c.t, t)
    push!(c.u, copy(u))
    if length(c.t) > 4 * c.stride + 1
        # the first is the initial state; of the others, every second one stays
        deleteat!(c.t, 2:2:length(c.t))
        deleteat!(c.u, 2:2:length(c.u))
        c.stride *= 2
    end
    return nothing
end

"What a solve leaves for its pullback."
abstract type AbstractTape end

struct Tape{S} <: AbstractTape
    recipe::Recipe
    trajectory::Trajectory{S}
    times::Vec  # that were saved
    states::Vector{Vec}
    retcode::ReturnCode.T
    full::Bool
end

"Instead of all steps, states to solve again from."
struct CheckpointedTape <: AbstractTape
    recipe::Recipe
    checkpoints::Checkpoints
    p::Vec
    times::Vec
    states::Vector{Vec}
    retcode::ReturnCode.T
    full::Bool
end

"As for a plan, but what it returns, always, is a tape."
function solve(
        r::Recipe, u0::Int, p::Int, np::Int, t0::Float64, t1::Float64, info::Int, reached::Int,
        t::Int, u::Int, room::Int, ::Bool, full::Bool
    )
    facts = unsafe_wrap(Array, Ptr{Int}(info), 10)
    try
        state = copy(unsafe_wrap(Array, Ptr{Float64}(u0), r.plan.model.n))
        parameters = copy(unsafe_wrap(Array, Ptr{Float64}(p), np))
        f = ode_function(r.plan.model, r.plan.kind, full)
        tape, integrator = Base.invokelatest(record, f, r, state, parameters, t0, t1, full)
        Base.invokelatest(report!, facts, reached, integrator)
        facts[1] = length(tape.times)
        facts[2] = r.plan.model.n
        facts[3] = retcode_index(tape.retcode)
        facts[1] > room && return tape
        fetch!(tape, t, u)
        facts[10] = 1
        return tape
    catch error
        facts[1] = note(error)
        return nothing
    end
end

fetch!(tape::AbstractTape, t::Int, u::Int) =
    copy_out!(tape.times, tape.states, tape.recipe.plan.model.n, t, u)

"""
    tape(recipe, u0, p, t0, t1, full) -> Tape

Solve. The tape has the saved `times` and `states`, the `retcode`, and what `pull!` needs.
"""
function tape(r::Recipe, u0::Vec, p::Vec, t0::Float64, t1::Float64, full::Bool)
    f = ode_function(r.plan.model, r.plan.kind, full)
    return first(record(f, r, u0, p, t0, t1, full))
end

const BUDGET = 2^28  # bytes
const VECTORS_PER_STEP = 12  # of a dense solution: the state and the stages
const VECTOR_OVERHEAD = 48  # bytes

steps_in_budget(n) = BUDGET ÷ (VECTORS_PER_STEP * (8n + VECTOR_OVERHEAD))

# All give (tape, integrator).
function record(f, r::Recipe, u0, p, t0, t1, full)
    keeps_steps(r.method) || return record_saved(f, r, u0, p, t0, t1, full)
    r.checkpointing === true && return record_checkpoints(f, r, u0, p, t0, t1, full)
    limit = r.checkpointing === false ? r.plan.maxiters :
        min(r.plan.maxiters, steps_in_budget(length(u0)))
    integrator = integrate_densely(f, r.plan, u0, p, t0, t1, limit)
    sol = integrator.sol
    if sol.retcode === ReturnCode.MaxIters && limit < r.plan.maxiters
        return record_checkpoints(f, r, u0, p, t0, t1, full)
    end
    trajectory = Trajectory(sol, sol.t, any_implicit(sol.alg, sol.alg_choice))
    require_suited(r, trajectory.implicit)
    times, states = saved(sol, saved_times(r.plan, t0, t1), integrator.t)
    return Tape(r, trajectory, times, states, sol.retcode, full), integrator
end

function integrate_densely(f, plan::Plan, u0, p, t0, t1, maxiters)
    every = with(plan; saveat = Float64[], save_everystep = true, dense = true, maxiters)
    return integrate(f, every, u0, p, t0, t1)
end

function record_saved(f, r::Recipe, u0, p, t0, t1, full)
    steps, implicit = [t0], Ref(false)
    integrator = integrate(
        f, saving(r.plan, t0, t1), u0, p, t0, t1, each_step() do i
            push!(steps, i.t)
            implicit[] |= is_implicit_now(i.alg, i)
        end
    )
    require_suited(r, implicit[])
    sol = integrator.sol
    trajectory = Trajectory(sol, steps, implicit[])
    return Tape(r, trajectory, sol.t, sol.u, retcode_of(integrator), full), integrator
end

function record_checkpoints(f, r::Recipe, u0, p, t0, t1, full)
    kept, implicit = Checkpoints([t0], [copy(u0)], 0, 1), Ref(false)
    integrator = integrate(
        f, saving(r.plan, t0, t1), u0, p, t0, t1, each_step() do i
            keep!(kept, i.t, i.u)
            implicit[] |= is_implicit_now(i.alg, i)
        end
    )
    require_suited(r, implicit[])
    sol = integrator.sol
    return CheckpointedTape(r, kept, p, sol.t, sol.u, retcode_of(integrator), full), integrator
end

function with(plan::Plan; saveat, save_everystep, dense, maxiters = plan.maxiters)
    return Plan(
        plan.model, plan.alg, plan.kind, saveat, save_everystep, dense, plan.adaptive, plan.dt,
        plan.dtmin, plan.dtmax, maxiters, plan.tstops, plan.abstol, plan.reltol, nothing,
    )
end

function require_suited(r::Recipe, implicit::Bool)
    implicit && !is_for_stiff(r.method) && throw(NotForStiff(name_of(r.method)))
    return nothing
end

is_implicit(alg) = hasfield(typeof(alg), :autodiff)

any_implicit(alg, choices) = is_implicit(alg)
any_implicit(alg::CompositeAlgorithm, choices) = any(i -> is_implicit(alg.algs[i]), unique(choices))

is_implicit_now(alg, integrator) = is_implicit(alg)
is_implicit_now(alg::CompositeAlgorithm, integrator) =
    is_implicit(alg.algs[integrator.cache.current])

"Advance an integrator step by step to the end, with a look at it after each."
function each_step(see)
    return function (integrator)
        for _ in integrator
            see(integrator)
        end
        return nothing
    end
end

# stepping by hand does not set it
function retcode_of(integrator)
    code = integrator.sol.retcode
    return code === ReturnCode.Default ? ReturnCode.Success : code
end

saved_times(plan::Plan, t0, t1) =
    !isempty(plan.saveat) ? plan.saveat : plan.save_everystep ? nothing : [t0, t1]

function saving(plan::Plan, t0, t1)
    times = saved_times(plan, t0, t1)
    return with(plan; saveat = something(times, Float64[]), save_everystep = true, dense = false)
end

"The states at `times`, as far as the solution goes."
function saved(sol, times::Vec, reached)
    forward = last(sol.prob.tspan) > first(sol.prob.tspan)
    covered = filter(t -> forward ? t <= reached : t >= reached, times)
    states = [similar(sol.prob.u0) for _ in covered]
    for (state, t) in zip(states, covered)
        sol(state, t)
    end
    return covered, states
end
saved(sol, ::Nothing, reached) = (sol.t, sol.u)

# -- from gradients with respect to the saved states to gradients with respect to u0 and p ----------

"""
    pull!(tape, w, u0, p) -> Int

From the gradient with respect to the saved states, at address `w` row by row, to the gradients
with respect to the initial state and the parameters, at `u0` and `p`. Zero, or FAILED.
"""
function pull!(tape::AbstractTape, w::Int, u0::Int, p::Int)
    try
        n, np = tape.recipe.plan.model.n, parameter_count(tape)
        cotangents = copy(unsafe_wrap(Array, Ptr{Float64}(w), (n, length(tape.times))))
        du0 = unsafe_wrap(Array, Ptr{Float64}(u0), n)
        dp = unsafe_wrap(Array, Ptr{Float64}(p), np)
        Base.invokelatest(pull!, tape, cotangents, du0, dp)
        return 0
    catch error
        return note(error)
    end
end

parameter_count(tape::Tape) = length(tape.trajectory.solution.prob.p)
parameter_count(tape::CheckpointedTape) = length(tape.p)

function pull!(tape::AbstractTape, cotangents::Matrix{Float64}, du0::Vec, dp::Vec)
    # The adjoint is linear in the cotangents. Scaled to 1, they suit the tolerances.
    scale = maximum(abs, cotangents; init = 0.0)
    if iszero(scale) || !isfinite(scale)
        fill!(du0, scale * 0.0)
        fill!(dp, scale * 0.0)
        return nothing
    end
    seen = [i for i in eachindex(tape.times) if any(!iszero, view(cotangents, :, i))]
    pull_along!(tape, tape.times[seen], cotangents[:, seen] ./ scale, du0, dp)
    du0 .*= scale
    dp .*= scale
    return nothing
end

function pull_along!(tape::Tape, times::Vec, w::Matrix{Float64}, du0::Vec, dp::Vec)
    return adjoint!(tape.trajectory, tape.recipe, tape.full, times, w, du0, dp)
end

"Segment by segment from the last one; each is solved again, with dense output."
function pull_along!(tape::CheckpointedTape, times::Vec, w::Matrix{Float64}, du0::Vec, dp::Vec)
    r, c = tape.recipe, tape.checkpoints
    f = ode_function(r.plan.model, r.plan.kind, tape.full)
    before = abs.(c.t .- first(c.t)) .< abs(last(times) - first(c.t))
    starts, states = c.t[before], c.u[before]
    stop = last(times)
    fill!(du0, 0.0)  # the gradient with respect to the state at `stop`
    fill!(dp, 0.0)
    of_segment = similar(dp)
    for (start, state) in Iterators.reverse(zip(starts, states))
        sol = integrate_densely(f, r.plan, state, tape.p, start, stop, r.plan.maxiters).sol
        sol.retcode === ReturnCode.Success ||
            throw(BackwardFailure(name_of(r.method), start))
        trajectory = Trajectory(sol, sol.t, any_implicit(sol.alg, sol.alg_choice))
        inside = findall(t -> min(start, stop) <= t <= max(start, stop) && t != start, times)
        adjoint!(
            trajectory, r, tape.full, [times[inside]; stop], [w[:, inside] du0], du0, of_segment
        )
        dp .+= of_segment
        stop = start
    end
    for i in findall(==(stop), times)
        du0 .+= view(w, :, i)
    end
    return nothing
end
