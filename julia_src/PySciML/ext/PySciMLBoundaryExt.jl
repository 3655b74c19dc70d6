"""
Boundary value problems by BoundaryValueDiffEq: its MIRK and FIRK collocation, and shooting.

See `pysciml.capture.boundary` for what the functions are and `pysciml.engines.julia.boundary` for
the other side. Collocation differentiates with ForwardDiff: where a dual number comes to a
generated function, which takes none, its derivative is the captured one.
"""
module PySciMLBoundaryExt

using ADTypes: AutoFiniteDiff, AutoForwardDiff, AutoSparse
using BoundaryValueDiffEqMIRK: BVPJacobianAlgorithm
using BoundaryValueDiffEqShooting: MultipleShooting, Shooting
using ForwardDiff: Dual, Partials, npartials, partials, value
using PySciML: PySciML, AbstractModel, Body, LIBRARY_OF, Model, UnknownAlgorithm, VBody, Vec, plain, wrap
using SciMLBase: AbstractBVPAlgorithm, BVPFunction, BVProblem, EnsembleSerial, FullSpecialize, solve
using SparseMatrixColorings: GreedyColoringAlgorithm

"""
The functions: `rhs` has "f"; `conditions` has "f", of the states at `times`; for conditions at the
ends, `ends` has two models with "f" of a state, with `sizes` residuals. `points`: of the guess.
"""
struct BoundaryModel <: AbstractModel
    n::Int
    rhs::Model
    conditions::Model
    times::Vec
    ends::Vector{Model}
    sizes::Vector{Int}
    points::Int
end

BoundaryModel(rhs, conditions, times, ends, sizes, points) =
    BoundaryModel(rhs.n, rhs, conditions, Vec(times), Vector{Model}(ends), Vector{Int}(sizes), points)

"""
A generated function `k(out, x, p, t)` that takes dual numbers, too: a vector of them goes through
the jvp, once for each of their partials.
"""
struct Differentiable{B, V}
    body::B
    work::Vec
    jvp::V
    jvp_work::Vec
    x::Vec
    out::Vec
end

function Differentiable(model::Model, n_in::Int, n_out::Int, full::Bool)
    f, work = model.functions[:f]
    jvp, jvp_work = model.functions[:jvp]
    return Differentiable(
        wrap(Body, f, full), copy(work), wrap(VBody, jvp, full), copy(jvp_work), zeros(n_in),
        zeros(n_out)
    )
end

Base.copy(k::Differentiable) =
    Differentiable(k.body, copy(k.work), k.jvp, copy(k.jvp_work), copy(k.x), copy(k.out))

function (k::Differentiable)(out, x, p, t)
    copyto!(k.x, x)
    k.body(k.out, k.x, plain(p), Float64(t), k.work)
    copyto!(out, k.out)
    return nothing
end

function (k::Differentiable)(out, x::AbstractVector{Dual{T, Float64, N}}, p, t) where {T, N}
    k.x .= value.(x)
    parameters, time = plain(p), Float64(t)
    k.body(k.out, k.x, parameters, time, k.work)
    slopes = zeros(length(k.out), N)
    direction, slope = similar(k.x), similar(k.out)
    for j in 1:N
        direction .= partials.(x, j)
        k.jvp(slope, k.x, parameters, time, direction, k.jvp_work)
        slopes[:, j] = slope
    end
    for i in eachindex(k.out)
        out[i] = Dual{T}(k.out[i], Partials(ntuple(j -> slopes[i, j], N)))
    end
    return nothing
end

"`f(du, u, p, t)`"
struct Rates{K <: Differentiable}
    rates::K
end

(k::Rates)(du, u, p, t) = (PySciML.poll(); k.rates(du, u, p, t))

"`bc(residual, u, p, t)` with the solution `u(t)`"
struct Conditions{K <: Differentiable}
    residual::K
    times::Vec
end

(k::Conditions)(residual, u, p, t) =
    k.residual(residual, reduce(vcat, [u(time) for time in k.times]), p, 0.0)

"`bca(residual, u, p)` and `bcb(residual, u, p)`"
struct EndCondition{K <: Differentiable}
    residual::K
end

(k::EndCondition)(residual, u, p) = k.residual(residual, u, p, 0.0)

Base.copy(k::Rates) = Rates(copy(k.rates))
Base.copy(k::Conditions) = Conditions(copy(k.residual), k.times)
Base.copy(k::EndCondition) = EndCondition(copy(k.residual))
Base.deepcopy_internal(k::Union{Rates, Conditions, EndCondition}, ::IdDict) = copy(k)

PySciML.function_of(model::BoundaryModel, ::Symbol, full::Bool) =
    Base.invokelatest(build_function, model, full)

function build_function(model::BoundaryModel, full::Bool)
    n = model.n
    f = Rates(Differentiable(model.rhs, n, n, full))
    if isempty(model.ends)
        residual = Differentiable(model.conditions, n * length(model.times), n, full)
        return BVPFunction{true, FullSpecialize, false}(f, Conditions(residual, model.times))
    end
    first, last = map(model.ends, model.sizes) do condition, size
        EndCondition(Differentiable(condition, n, size, full))
    end
    prototypes = (zeros(model.sizes[1]), zeros(model.sizes[2]))
    return BVPFunction{true, FullSpecialize, true}(f, (first, last); bcresid_prototype = prototypes)
end

PySciML.start_size(model::BoundaryModel) = model.points * model.n

"What a solve leaves: as an integrator, and as a solution that can be evaluated."
struct Solved
    curve::Any
    t::Vec
    u::Vector{Vec}
    retcode::Any
    stats::Any
end

(s::Solved)(times; continuity = :right) = (; u = [Vec(s.curve(time)) for time in times])

struct Ended
    sol::Solved
    t::Float64
    dt::Float64
end

"Work counters, of which a method has some."
function counted(stats)
    names = (:nf, :njacs, :nw, :nsolve, :naccept, :nreject)
    return NamedTuple(name => hasproperty(stats, name) ? getproperty(stats, name) : 0 for name in names)
end

function PySciML.integrate(
        f::BVPFunction, plan::PySciML.Plan, guess::Vec, p::Vec, t0::Float64, t1::Float64, ::Any,
        ::NamedTuple
    )
    n = plan.model.n
    states = plan.alg isa Shooting ? guess[1:n] :
        [guess[((i - 1) * n + 1):(i * n)] for i in 1:plan.model.points]
    # as many conditions as states: else that is guessed, and wrongly of a guess that is a list
    problem = BVProblem{true}(f, states, (t0, t1), p; nlls = Val(false))
    PySciML.start_polling()
    curve = solve(problem, plan.alg; options(plan.alg, plan)...)
    times = isempty(plan.saveat) ? Vec(curve.t) : plan.saveat
    kept = something(plan.save_idxs, 1:n)
    u = isempty(plan.saveat) ? curve.u : map(curve, times)
    kept_states = [Vec(x[kept]) for x in u]
    return Ended(Solved(curve, times, kept_states, curve.retcode, counted(curve.stats)), t1, 0.0)
end

# A mesh is refined until the defect is below abstol; shooting has a solve for ODEs in it.
options(alg, plan) = (; abstol = minimum(plan.abstol), adaptive = plan.adaptive)
options(::Shooting, plan) = (;
    abstol = minimum(plan.abstol), odesolve_kwargs = (;
        abstol = plan.abstol, reltol = plan.reltol, maxiters = plan.maxiters,
    ),
)
# in one thread: the pieces would share the function's scratch space
options(::MultipleShooting, plan) =
    (; options(Shooting(plan.alg.ode_alg), plan)..., ensemblealg = EnsembleSerial())

"""
    boundary_algorithm(name, options)

By name: "MIRK4", "Shooting(Tsit5)", "MultipleShooting(8, Vern7)", "RadauIIa5", ...
"""
function boundary_algorithm(name, options)
    call = Meta.parse(String(name); raise = false)
    head, arguments = call isa Expr && call.head === :call ? (call.args[1], call.args[2:end]) : (call, [])
    T = constructor(head)
    if T in (Shooting, MultipleShooting) && all(a -> a isa Integer, arguments)
        push!(arguments, :Tsit5)
    end
    inner = map(arguments) do argument
        argument isa Integer ? argument : PySciML.build_algorithm(argument, Dict{Symbol, Any}())
    end
    own = Dict(Symbol(key) => value for (key, value) in options)
    return Base.invokelatest(T, inner...; jac_alg = jacobian(T), own...)
end

function constructor(name)
    library, uuid = get(LIBRARY_OF, name, ("", nothing))
    startswith(library, "BoundaryValueDiffEq") ||
        throw(UnknownAlgorithm("there is no method $name for boundary value problems"))
    id = Base.PkgId(uuid, library)
    Base.locate_package(id) === nothing && throw(UnknownAlgorithm(
        "it is in the Julia package $library, which is not in the Julia environment; add it there: " *
            "import Pkg; Pkg.add(\"$library\")"))
    return Base.invokelatest(getfield, Base.require(id), name)
end

# Of one chunk size for all problems, so that they share what is compiled.
const DUALS = AutoForwardDiff(; chunksize = 4)

jacobian(T) = BVPJacobianAlgorithm(
    AutoSparse(DUALS; coloring_algorithm = GreedyColoringAlgorithm()); bc_diffmode = DUALS
)
# A solve for ODEs stays one of plain numbers: that is compiled already, and takes any method.
jacobian(::Type{<:Union{Shooting, MultipleShooting}}) = BVPJacobianAlgorithm(AutoFiniteDiff())

PySciML.kind_of(::AbstractBVPAlgorithm, ::Int) = :explicit
PySciML.title(alg::Union{Shooting, MultipleShooting}) = "$(nameof(typeof(alg)))($(PySciML.title(alg.ode_alg)))"

end
