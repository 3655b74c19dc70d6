# Solving: a plan holds all that does not change between solves; solve() writes into NumPy's memory.

const QUIET = DEVerbosity(SciMLLogging.None())

"""
Everything of a solve but u0, p and tspan. The types of `options` are the same for every plan of
its sort, so that precompiled solvers fit.
"""
struct Plan
    model::AbstractModel
    alg::Any
    kind::Symbol
    saveat::Vec
    save_everystep::Bool
    dense::Bool
    adaptive::Bool
    dt::Float64
    dtmin::Float64
    dtmax::Float64
    maxiters::Int
    tstops::Vec
    abstol::Union{Float64, Vec}
    reltol::Union{Float64, Vec}
    save_idxs::Union{Nothing, Vector{Int}}
end

"How many numbers of a state are kept."
width(plan::Plan) = plan.save_idxs === nothing ? plan.model.n : length(plan.save_idxs)

tolerance(x::Real) = Float64(x)
tolerance(x) = Vec(x)

"""
    make_algorithm(name, options, reltol)

`name` is "" for the default, which switches between a stiff and a non-stiff method by itself.

It is not DefaultODEAlgorithm. Above 50 states that turns to FBDF, which misses its tolerance by
three to five orders of magnitude when a switch starts it (heat equation, Brusselator), where
Rodas5P keeps it; it is three to thirty times slower on small problems, and has no in-place dense
output, which adjoints need (measured with OrdinaryDiffEqCore 4.15).
"""
function make_algorithm(name::AbstractString, options, reltol)
    default = minimum(reltol) < 1e-6 ? "AutoVern7(Rodas5P)" : "AutoTsit5(Rodas5P)"
    alg = algorithm(isempty(name) ? default : name, options)
    alg isa DAEAlgorithm && throw(UnknownAlgorithm("it is a method for a DAEProblem"))
    return alg
end

"""
    needs(alg, n) -> String

Which functions the model has to have for `alg`: "explicit", "implicit" or "krylov".
"""
needs(alg, n) = String(kind_of(alg, Int(n)))

function plan(
        model::AbstractModel, alg, saveat, save_everystep, dense, adaptive, dt, dtmin, dtmax, maxiters,
        tstops, abstol, reltol, save_idxs
    )
    indices = save_idxs === nothing ? nothing : Vector{Int}(save_idxs) .+ 1
    return Plan(
        model, alg, kind_of(alg, model.n), Vec(saveat), save_everystep, dense,
        adaptive && !is_fixed(alg), dt, dtmin, dtmax, Int(maxiters), Vec(tstops), tolerance(abstol),
        tolerance(reltol), indices
    )
end

"Whether a method for ODEs has no error estimate, so that its step has to be given."
is_fixed(alg) = alg isa OrdinaryDiffEqCore.OrdinaryDiffEqAlgorithm && !SciMLBase.isadaptive(alg)

"What a solve left behind, for `fetch!`, `interpolate!` and, with events, `happened`."
struct Outcome
    solution::Any
    width::Int
    watch::Any
end

# layout of the two small arrays that Python reads after each solve
# info: points, width, retcode, nf, njacs, nw, nsolve, naccept, nreject, written
# reached: t, last step
const FAILED = -1
const INTERRUPTED = -2

const LAST_ERROR = Ref(("", ""))

"(kind, message) of the error that the last call returned FAILED for."
last_error() = LAST_ERROR[]

retcode_names() = [String(Symbol(code)) for code in instances(SciMLBase.ReturnCode.T)]
retcode_index(code) = Int(findfirst(==(code), instances(SciMLBase.ReturnCode.T))) - 1

"""
    solve(plan, u0, p, np, t0, t1, info, reached, t, u, room, keep, full)

Solve from the state at address `u0` with the parameters at `p`. When `room` points are enough, the
times go to `t` and the states to `u`, row by row; else `fetch!` does that with the outcome, which
is returned when it is needed for that, when there are events, or when `keep` is set.
"""
function solve(
        plan::Plan, u0::Int, p::Int, np::Int, t0::Float64, t1::Float64, info::Int, reached::Int,
        t::Int, u::Int, room::Int, keep::Bool, full::Bool
    )
    facts = unsafe_wrap(Array, Ptr{Int}(info), 10)
    try
        f = function_of(plan.model, plan.kind, full)
        state = copy(unsafe_wrap(Array, Ptr{Float64}(u0), start_size(plan.model)))
        parameters = copy(unsafe_wrap(Array, Ptr{Float64}(p), np))
        watch = watch_of(plan.model, plan)
        integrator = Base.invokelatest(
            integrate, f, plan, state, parameters, t0, t1, runner(f, plan), watching(watch)
        )
        outcome = Base.invokelatest(report!, facts, reached, integrator, watch)
        facts[1] > room && return outcome
        fetch!(outcome, t, u)
        facts[10] = 1
        return keep || watch !== nothing ? outcome : nothing
    catch error
        facts[1] = note(error)
        return nothing
    end
end

# What an extension gives methods to that brings another kind of problem.

"The function of a SciML problem, with what a sort of method needs (see `ode_function`)."
function_of(model::Model, kind::Symbol, full::Bool) = ode_function(model, kind, full)

"The SciML problem of such a function."
problem_of(f::ODEFunction, ::AbstractModel, u0::Vec, p::Vec, t0::Float64, t1::Float64) =
    ODEProblem{true, FullSpecialize}(f, u0, (t0, t1), p)

"Keyword options of `init` that only its kind of problem has."
own_options(::ODEFunction, ::AbstractModel) = (;)

"What brings an integrator to its end."
runner(::Any, ::Plan) = CommonSolve.solve!

"By which a solve with it is stopped."
poll_of(f) = f.f.poll

"What looks for events in a run, if there are any."
watch_of(::AbstractModel, ::Plan) = nothing

"Keyword options of `init` with which it does."
watching(::Nothing) = (;)

"How many numbers a solve starts from."
start_size(model::AbstractModel) = model.n

"A random model with the random numbers of a trajectory of a seed: a model for one solve."
function seeded end

"As `solve`, of a plan for a random model, with the random numbers of a trajectory of a seed."
function solve_seeded(plan::Plan, seed::Int, trajectory::Int, rest...)
    return solve(with_model(plan, seeded(plan.model, seed, trajectory)), rest...)
end

function with_model(plan::Plan, model::AbstractModel)
    others = (getfield(plan, i) for i in 2:fieldcount(Plan))
    return Plan(model, others...)
end

"The random numbers of a trajectory: a stream of its own, seeded by SHA-256 of the pair."
generator(seed::Int, trajectory::Int) = Random.seed!(Random.Xoshiro(0), UInt64[seed, trajectory])

# Every keyword has the same type in every call, so that the precompiled methods match.
function integrate(
        f::F, plan::Plan, u0::Vec, p::Vec, t0::Float64, t1::Float64,
        advance!::A = CommonSolve.solve!, more::M = (;)
    ) where {F, A, M <: NamedTuple}
    if plan.abstol isa Float64 && plan.reltol isa Float64 && plan.save_idxs === nothing
        integrator = start(
            f, plan.alg, plan, plan.abstol, plan.reltol, nothing, u0, p, t0, t1, more
        )
    else
        integrator = start(
            f, plan.alg, plan, plan.abstol, plan.reltol, plan.save_idxs, u0, p, t0, t1, more
        )
    end
    advance!(integrator)
    return integrator
end

function start(
        f::F, alg::A, plan::Plan, abstol, reltol, save_idxs, u0::Vec, p::Vec, t0::Float64,
        t1::Float64, more::M
    ) where {F, A, M}
    problem = problem_of(f, plan.model, u0, p, t0, t1)
    saveat = plan.saveat
    every = isempty(saveat)
    start_polling()
    options = (;
        saveat, abstol, reltol, save_idxs,
        save_everystep = every && plan.save_everystep,
        save_start = every || first(saveat) == t0,
        save_end = every || last(saveat) == t1,
        dense = plan.dense, adaptive = plan.adaptive, dtmin = plan.dtmin,
        dtmax = isnan(plan.dtmax) ? abs(t1 - t0) : plan.dtmax, maxiters = plan.maxiters,
        tstops = plan.tstops, verbose = QUIET, own_options(f, plan.model)..., more...,
    )
    # zero would be taken for a step size
    integrator = plan.dt == 0.0 ? CommonSolve.init(problem, alg; options...) :
        CommonSolve.init(problem, alg; options..., dt = plan.dt)
    cut_first_step!(integrator)
    return integrator
end

"""
Shorten the first step to the first of the `tstops`.

OrdinaryDiffEqCore 4.15 does that itself, but then interpolates in that step as if it had not been
shortened: what is saved inside it, and what callbacks see, is wrong (for Rodas5P by percents).
"""
cut_first_step!(integrator) = nothing
cut_first_step!(integrator::ODEIntegrator) = modify_dt_for_tstops!(integrator)

function report!(facts::Vector{Int}, reached::Int, integrator, watch = nothing)
    sol = integrator.sol
    stats = sol.stats
    width = isempty(sol.u) ? 0 : length(first(sol.u))
    facts[1] = length(sol.t)
    facts[2] = width
    facts[3] = retcode_index(sol.retcode)
    facts[4] = stats.nf
    facts[5] = stats.njacs
    facts[6] = stats.nw
    facts[7] = stats.nsolve
    facts[8] = stats.naccept
    facts[9] = stats.nreject
    facts[10] = 0
    unsafe_store!(Ptr{Float64}(reached), integrator.t, 1)
    unsafe_store!(Ptr{Float64}(reached), integrator.dt, 2)
    return Outcome(sol, width, watch)
end

"Times and states into NumPy's memory: this is the only copy that they make."
function fetch!(outcome::Outcome, t::Int, u::Int)
    copy_out!(outcome.solution.t, outcome.solution.u, outcome.width, t, u)
    return nothing
end

function copy_out!(times::Vec, states::Vector, width::Int, t::Int, u::Int)  # of partitioned states
    return copy_out!(times, Vec[Vec(state) for state in states], width, t, u)
end

function copy_out!(times::Vec, states::Vector{Vec}, width::Int, t::Int, u::Int)
    unsafe_copyto!(Ptr{Float64}(t), pointer(times), length(times))
    for (k, state) in enumerate(states)
        unsafe_copyto!(Ptr{Float64}(u) + (k - 1) * width * sizeof(Float64), pointer(state), width)
    end
    return nothing
end

"""
    interpolate!(outcome, times, count, out) -> Int

The states at `count` times at address `times`, row by row to `out`; at the time of an event the
one after it. Zero, or FAILED.
"""
function interpolate!(outcome::Outcome, times::Int, count::Int, out::Int)
    try
        at = copy(unsafe_wrap(Array, Ptr{Float64}(times), count))
        states = Base.invokelatest(states_at, outcome.solution, at)
        Base.invokelatest(copy_out!, at, states, outcome.width, times, out)
        return 0
    catch error
        return note(error)
    end
end

function states_at(sol, at::Vec)
    # the end is not asked for from the right: a lazy interpolant would take the last step, for good,
    # for one of length zero
    inside = at .!= last(sol.t)
    states = fill(last(sol.u), length(at))
    states[inside] = sol(at[inside]; continuity = :right).u
    return states
end

"Keep an error for Python, in a few lines, and say which sort it is."
function note(error)
    error isa InterruptException && return INTERRUPTED
    LAST_ERROR[] = (String(nameof(typeof(error))), brief(error))
    return FAILED
end

function brief(error)
    text = try
        sprint(showerror, error; context = :limit => true)
    catch
        string(typeof(error))
    end
    lines = [rstrip(line) for line in split(text, '\n') if !isempty(strip(line))]
    shown = join(first(lines, 8), "\n")
    return length(shown) > 1500 ? first(shown, 1500) * " ..." : String(shown)
end
