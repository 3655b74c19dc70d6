"""
Gradients of a solve by SciMLSensitivity's adjoint methods.

The model's own `vjp` and `vjp_p` (see `ODEFunction`) are all that these methods differentiate
with, so no automatic differentiation of Julia's runs. Python calls `recipe`, `solve`, `fetch!`
and `pull!`; see `pysciml.engines.julia.adjoint` for the other side.
"""
module PySciMLSensitivityExt

using ADTypes: AutoFiniteDiff
using LinearAlgebra: I, mul!
using OrdinaryDiffEqCore: CompositeAlgorithm
using OrdinaryDiffEqRosenbrock: Rodas5P
using OrdinaryDiffEqTsit5: Tsit5
using PrecompileTools: PrecompileTools
using PySciML: PySciML, Body, FAILED, Model, Plan, QUIET, RHS, VBody, Vec, note, plain
using SciMLBase: SciMLBase, FullSpecialize, ODEFunction, ODEProblem, ReturnCode
using SciMLSensitivity: BacksolveAdjoint, GaussAdjoint, GaussKronrodAdjoint, InterpolatingAdjoint,
    QuadratureAdjoint, ZygoteVJP, adjoint_sensitivities

# -- the model's functions, as adjoints call them ---------------------------------------------

"""
`vjp(out, w, u, p, t)` and `vjp_p(out, w, u, p, t)`.

Adjoints pass views of a larger state. Generated code takes whole vectors: views go through the
two buffers.
"""
struct Transposed{B}
    body::B
    work::Vec
    cotangent::Vec
    image::Vec
end

@inline function (k::Transposed)(out::Vec, w::Vec, u::Vec, p::Vec, t::Float64)
    PySciML.poll()
    k.body(out, u, p, t, w, k.work)
    return nothing
end

function (k::Transposed)(out::AbstractVector, w::AbstractVector, u::AbstractVector, p, t)
    copyto!(k.cotangent, w)
    k(k.image, k.cotangent, plain(u), plain(p), Float64(t))
    copyto!(out, k.image)
    return nothing
end

"The right-hand side with its Jacobian: for algebraic equations, adjoints ask `f.f.jac`."
struct WithJacobian{F, J}
    rhs::F
    jac::J
end
(k::WithJacobian)(du, u, p, t) = k.rhs(du, u, p, t)
SciMLBase.has_jac(::WithJacobian) = true

no_parameters(out, u, p, t, w, work) = nothing

function transposed(model::Model, which::Symbol, size::Int, full::Bool)
    f, work = get(model.functions, which, (no_parameters, Float64[]))
    return Transposed(PySciML.wrap(VBody, f, full), copy(work), zeros(model.n), zeros(size))
end

"""
    adjoint_function(model, n_p, implicit, full) -> ODEFunction

What `sol.prob.f` has to be for the adjoint. With `implicit` it brings the Jacobian, and with that
in its prototype the Gauss and quadrature adjoints know their own Jacobian exactly.
"""
function adjoint_function(model::Model, n_p::Int, implicit::Bool, full::Bool)
    return get!(model.cache, (implicit ? :implicit_adjoint : :explicit_adjoint, full)) do
        Base.invokelatest(build_adjoint_function, model, n_p, implicit, full)
    end
end

function build_adjoint_function(model::Model, n_p::Int, implicit::Bool, full::Bool)
    f = PySciML.kernel(RHS, Body, model, :f, full)
    options = (;
        mass_matrix = PySciML.mass_of(model),
        vjp = transposed(model, :vjp, model.n, full), vjp_p = transposed(model, :vjp_p, n_p, full),
    )
    implicit || return ODEFunction{true, FullSpecialize}(f; options...)
    jac = PySciML.jacobian(model, full)
    jac_prototype = model.pattern === nothing ? zeros(model.n, model.n) : model.pattern
    return ODEFunction{true, FullSpecialize}(WithJacobian(f, jac); options..., jac, jac_prototype)
end

# -- what does not change between solves ------------------------------------------------------

const METHODS = Dict{String, Any}(
    "GaussAdjoint" => GaussAdjoint, "GaussKronrodAdjoint" => GaussKronrodAdjoint,
    "InterpolatingAdjoint" => InterpolatingAdjoint, "QuadratureAdjoint" => QuadratureAdjoint,
    "BacksolveAdjoint" => BacksolveAdjoint,
)

# ZygoteVJP is the choice that prepares nothing; it never runs, for the model has vjp and vjp_p.
make_method(::Type{QuadratureAdjoint}, checkpointing) = QuadratureAdjoint(; autojacvec = ZygoteVJP())
make_method(T, checkpointing) = T(; autojacvec = ZygoteVJP(), checkpointing)

"A plan and the way in which it is differentiated."
struct Recipe
    plan::Plan
    method::Any  # type of the SciMLSensitivity algorithm
    checkpointing::Union{Nothing, Bool}
    abstol::Float64
    reltol::Float64
end

function PySciML.recipe(plan::Plan, method, checkpointing, abstol, reltol)
    return Recipe(
        plan, METHODS[method], checkpointing, Float64(something(abstol, minimum(plan.abstol))),
        Float64(something(reltol, minimum(plan.reltol))),
    )
end

keeps_steps(r::Recipe) = r.method !== BacksolveAdjoint

const BUDGET = 2^29  # bytes
const VECTORS_PER_STEP = 12  # of a dense solution: the state and the stages
const VECTOR_OVERHEAD = 48  # bytes

steps_in_budget(n) = BUDGET ÷ (VECTORS_PER_STEP * (8n + VECTOR_OVERHEAD))

function with(plan::Plan; saveat, save_everystep, dense, maxiters = plan.maxiters)
    return Plan(
        plan.model, plan.alg, plan.kind, saveat, save_everystep, dense, plan.adaptive, plan.dt,
        plan.dtmin, plan.dtmax, maxiters, plan.tstops, plan.abstol, plan.reltol, nothing,
    )
end

# -- forward ----------------------------------------------------------------------------------

"""
What a solve leaves for its pullback. `solution` has every step, or the checkpoints, or the saved
states alone, for a method that solves backwards from them.
"""
struct Tape{S}
    recipe::Recipe
    solution::S
    checkpointed::Bool
    times::Vec
    states::Vector{Vec}
    retcode::ReturnCode.T
    full::Bool
end

"As for a plan, but what it returns, always, is a `Tape`."
function PySciML.solve(
        r::Recipe, u0::Int, p::Int, np::Int, t0::Float64, t1::Float64, info::Int, reached::Int,
        t::Int, u::Int, room::Int, ::Bool, full::Bool
    )
    facts = unsafe_wrap(Array, Ptr{Int}(info), 10)
    try
        state = copy(unsafe_wrap(Array, Ptr{Float64}(u0), r.plan.model.n))
        parameters = copy(unsafe_wrap(Array, Ptr{Float64}(p), np))
        f = PySciML.ode_function(r.plan.model, r.plan.kind, full)
        tape, integrator = Base.invokelatest(record, f, r, state, parameters, t0, t1, full)
        Base.invokelatest(PySciML.report!, facts, reached, integrator)
        facts[1] = length(tape.times)
        facts[2] = r.plan.model.n
        facts[3] = PySciML.retcode_index(tape.retcode)
        facts[1] > room && return tape
        PySciML.fetch!(tape, t, u)
        facts[10] = 1
        return tape
    catch error
        facts[1] = note(error)
        return nothing
    end
end

PySciML.fetch!(tape::Tape, t::Int, u::Int) =
    PySciML.copy_out!(tape.times, tape.states, tape.recipe.plan.model.n, t, u)

function PySciML.tape(r::Recipe, u0::Vec, p::Vec, t0::Float64, t1::Float64, full::Bool)
    f = PySciML.ode_function(r.plan.model, r.plan.kind, full)
    return first(record(f, r, u0, p, t0, t1, full))
end

# All give (tape, integrator).
function record(f, r::Recipe, u0, p, t0, t1, full)
    keeps_steps(r) || return record_saved(f, r, u0, p, t0, t1, full)
    r.checkpointing === true && return record_checkpoints(f, r, u0, p, t0, t1, full)
    limit = r.checkpointing === false ? r.plan.maxiters :
        min(r.plan.maxiters, steps_in_budget(length(u0)))
    plan = with(r.plan; saveat = Float64[], save_everystep = true, dense = true, maxiters = limit)
    integrator = PySciML.integrate(f, plan, u0, p, t0, t1)
    sol = integrator.sol
    if sol.retcode === ReturnCode.MaxIters && limit < r.plan.maxiters
        return record_checkpoints(f, r, u0, p, t0, t1, full)
    end
    times, states = saved(sol, saved_times(r.plan, t0, t1), integrator.t)
    return Tape(r, sol, false, times, states, sol.retcode, full), integrator
end

function record_saved(f, r::Recipe, u0, p, t0, t1, full)
    integrator = PySciML.integrate(f, saving(r.plan, t0, t1), u0, p, t0, t1)
    sol = integrator.sol
    checkpointed = r.checkpointing !== false  # start again from each saved state
    return Tape(r, sol, checkpointed, sol.t, sol.u, sol.retcode, full), integrator
end

function record_checkpoints(f, r::Recipe, u0, p, t0, t1, full)
    kept = Checkpoints([t0], [copy(u0)], 0, 1)
    integrator = PySciML.integrate(f, saving(r.plan, t0, t1), u0, p, t0, t1, collector(kept))
    sol = integrator.sol
    # stepping by hand does not set it
    retcode = sol.retcode === ReturnCode.Default ? ReturnCode.Success : sol.retcode
    thin = SciMLBase.build_solution(sol.prob, sol.alg, kept.t, kept.u; retcode)
    return Tape(r, thin, true, sol.t, sol.u, retcode, full), integrator
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

function collector(kept::Checkpoints)
    return function (integrator)
        for _ in integrator
            keep!(kept, integrator.t, integrator.u)
        end
        return nothing
    end
end

# -- backward ---------------------------------------------------------------------------------

"""
Jumps of the adjoint: `jumps[:, column[i]]` at the i-th stop, none for column 0.

`left` counts down to the first stop, which is t0: when it is not 1, the solve has failed.
"""
mutable struct Jumps
    const values::Matrix{Float64}
    const column::Vector{Int}
    left::Int
end

function (j::Jumps)(out, u, p, t, i)
    j.left = i
    column = j.column[i]
    if column == 0
        fill!(out, 0.0)
    else
        copyto!(out, view(j.values, :, column))
    end
    return nothing
end

function PySciML.pull!(tape::Tape, w::Int, u0::Int, p::Int)
    try
        problem = tape.solution.prob
        n, np = length(problem.u0), length(problem.p)
        cotangents = copy(unsafe_wrap(Array, Ptr{Float64}(w), (n, length(tape.times))))
        du0 = unsafe_wrap(Array, Ptr{Float64}(u0), n)
        dp = unsafe_wrap(Array, Ptr{Float64}(p), np)
        Base.invokelatest(PySciML.pull!, tape, cotangents, du0, dp)
        return 0
    catch error
        return note(error)
    end
end

function PySciML.pull!(tape::Tape, cotangents::Matrix{Float64}, du0::Vec, dp::Vec)
    # The adjoint is linear in the cotangents. Scaled to 1, they suit the tolerances.
    scale = maximum(abs, cotangents; init = 0.0)
    if iszero(scale) || !isfinite(scale)
        fill!(du0, scale * 0.0)
        fill!(dp, scale * 0.0)
        return nothing
    end
    cotangents ./= scale
    stops, column = stops_of(tape, cotangents)
    if length(stops) == 1
        copyto!(du0, view(cotangents, :, only(column)))
        fill!(dp, 0.0)
    else
        adjoint!(tape, Jumps(cotangents, column, 0), stops, du0, dp)
    end
    du0 .*= scale
    dp .*= scale
    return nothing
end

"Times at which the backward solve has to stop, in the order of the forward one, t0 first."
function stops_of(tape::Tape, cotangents)
    t0, t1 = tape.solution.prob.tspan
    jumps = [i for i in eachindex(tape.times) if any(!iszero, view(cotangents, :, i))]
    last_jump = tape.times[last(jumps)]
    inside = filter(t -> min(t0, last_jump) < t < max(t0, last_jump), tape.recipe.plan.tstops)
    column = Dict(tape.times[i] => i for i in jumps)
    stops = sort!(unique!([t0; inside; tape.times[jumps]]); rev = t1 < t0)
    return stops, [get(column, t, 0) for t in stops]
end

function adjoint!(tape::Tape, jumps::Jumps, stops::Vec, du0::Vec, dp::Vec)
    r = tape.recipe
    model = r.plan.model
    implicit = needs_implicit(tape.solution.alg, tape.solution)
    f = adjoint_function(model, length(dp), implicit || singular(model), tape.full)
    sol = until(tape, last(stops), f)
    λ, gradient = adjoint_sensitivities(
        sol, backward_algorithm(implicit);
        sensealg = make_method(r.method, tape.checkpointed), t = stops, dgdu_discrete = jumps,
        abstol = r.abstol, reltol = r.reltol, maxiters = max(r.plan.maxiters, 1_000_000),
        dtmax = isnan(r.plan.dtmax) ? abs(last(stops) - first(stops)) : r.plan.dtmax,
        verbose = QUIET,
    )
    jumps.left == 1 || throw(PySciML.BackwardFailure(nameof(r.method), first(stops)))
    mul_mass!(du0, model.mass, λ)
    copyto!(dp, gradient)
    return nothing
end

# M u' = f and M' λ' = -J' λ: the gradient with respect to u0 is M' λ
mul_mass!(du0, ::Nothing, λ) = copyto!(du0, λ)
mul_mass!(du0, M::Matrix{Float64}, λ) = mul!(du0, M', λ)

singular(model::Model) = model.mass !== nothing && any(iszero, sum(abs, model.mass; dims = 2))

is_implicit(alg) = hasfield(typeof(alg), :autodiff)

"Whether an implicit method did some of the steps."
needs_implicit(alg, sol) = is_implicit(alg)
function needs_implicit(alg::CompositeAlgorithm, sol)
    sol.alg_choice === nothing && return any(is_implicit, alg.algs)  # of checkpoints, nobody knows
    return any(i -> is_implicit(alg.algs[i]), unique(sol.alg_choice))
end

backward_algorithm(implicit::Bool) = implicit ? Rodas5P(; autodiff = AutoFiniteDiff()) : Tsit5()

"The solution up to time `t`, of a problem whose function is `f`."
function until(tape::Tape, t::Float64, f)
    sol = tape.solution
    problem = ODEProblem{true, FullSpecialize}(f, sol.prob.u0, (first(sol.prob.tspan), t), sol.prob.p)
    if sol.dense
        return SciMLBase.build_solution(
            problem, sol.alg, sol.t, sol.u; dense = true, k = sol.k, interp = sol.interp,
            alg_choice = sol.alg_choice, retcode = ReturnCode.Success, stats = sol.stats,
        )
    end
    forward = t > first(sol.prob.tspan)
    before = [i for (i, s) in enumerate(sol.t) if (forward ? s < t : s > t)]
    state = tape.states[findlast(==(t), tape.times)]
    return SciMLBase.build_solution(
        problem, sol.alg, [sol.t[before]; t], [sol.u[before]; [state]]; retcode = ReturnCode.Success,
    )
end

# -- compiled into the package image: what the first gradient of any model needs --------------

function workload_vjp(out, u, p, t, w, work)
    out[1] = (p[1] - p[2] * u[2]) * w[1] + p[2] * u[2] * w[2]
    out[2] = -p[2] * u[1] * w[1] + (p[2] * u[1] - p[1]) * w[2]
    return nothing
end

function workload_vjp_p(out, u, p, t, w, work)
    out[1] = u[1] * w[1] - u[2] * w[2]
    out[2] = u[1] * u[2] * (w[2] - w[1])
    return nothing
end

function workload(name, method)
    model = PySciML.workload_model()
    model.functions[:vjp] = (workload_vjp, Float64[])
    model.functions[:vjp_p] = (workload_vjp_p, Float64[])
    u0, p, saveat = [1.0, 1.0], [1.0, 0.5], [0.0, 0.5, 1.0]
    plan = PySciML.plan(
        model, PySciML.make_algorithm(name, (), 1e-6), saveat, true, false, true, 0.0, 0.0, NaN, 10_000,
        Float64[], 1e-6, 1e-3, nothing
    )
    how = PySciML.recipe(plan, method, nothing, nothing, nothing)
    info, reached, t, u = zeros(Int, 10), zeros(2), zeros(3), zeros(6)
    w, du0, dp = ones(6), zeros(2), zeros(2)
    GC.@preserve u0 p info reached t u w du0 dp begin
        at(x) = Int(pointer(x))
        tape = PySciML.solve(
            how, at(u0), at(p), 2, 0.0, 1.0, at(info), at(reached), at(t), at(u), 3, false, false
        )
        info[1] == 3 && PySciML.pull!(tape, at(w), at(du0), at(dp)) == 0 ||
            error("the workload failed: " * join(PySciML.last_error(), ": "))
    end
    return nothing
end

PrecompileTools.@compile_workload begin
    foreach(name -> workload(name, "GaussAdjoint"), ("Tsit5", "Vern7", "", "Rodas5P"))
    workload("Tsit5", "InterpolatingAdjoint")
end

end
