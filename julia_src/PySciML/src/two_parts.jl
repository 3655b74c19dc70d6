# Right-hand sides in two parts: of a partitioned system, and of a sum.

# -- dv/dt = f1, du/dt = f2 ------------------------------------------------------------------------

"`halves` has \"f1\" and \"f2\", both of the state: v, then u."
struct PartitionedModel <: AbstractModel
    n::Int
    halves::Model
    cache::Dict{Bool, Any}
end

PartitionedModel(halves::Model) = PartitionedModel(halves.n, halves, Dict())

"`f(out, v, u, p, t)`"
struct Half{B}
    body::B
    work::Vec
    x::Vec
end

function (k::Half)(out::Vec, v::Vec, u::Vec, p::Vec, t::Float64)
    poll()
    k.body(out, joined!(k.x, v, u), p, t, k.work)
    return nothing
end

"Methods for f1(u, p, t) pass something else for v."
function (k::Half)(out::Vec, ::Any, u::Vec, p::Vec, t::Float64)
    poll()
    copyto!(k.x, length(u) + 1, u, 1, length(u))
    k.body(out, k.x, p, t, k.work)
    return nothing
end

Base.copy(k::Half) = Half(k.body, copy(k.work), copy(k.x))
Base.deepcopy_internal(k::Half, ::IdDict) = copy(k)

function function_of(model::PartitionedModel, ::Symbol, full::Bool)
    return get!(model.cache, full) do
        half(which) = let (f, work) = model.halves.functions[which]
            Half(wrap(Body, f, full), copy(work), zeros(model.n))
        end
        DynamicalODEFunction{true, FullSpecialize}(half(:f1), half(:f2))
    end
end

own_options(::DynamicalODEFunction, ::PartitionedModel) = (;)

function problem_of(
        f::DynamicalODEFunction, model::PartitionedModel, start::Vec, p::Vec, t0::Float64, t1::Float64
    )
    half = model.n ÷ 2
    return DynamicalODEProblem(f, start[1:half], start[(half + 1):end], (t0, t1), p)
end

# -- du/dt = f1 + f2 -------------------------------------------------------------------------------

"`linear`: the methods are for an f1 that is a matrix times u."
struct SplitModel <: AbstractModel
    n::Int
    first::Model
    second::Model
    linear::Bool
    cache::Dict{Tuple{Symbol, Bool}, Any}
end

SplitModel(first::Model, second::Model, linear) =
    SplitModel(first.n, first, second, Bool(linear), Dict())

"A linear f1, still without its matrix, which the parameters give, and f2."
struct LinearSplit{J, F}
    jac::J
    f2::F
end

function function_of(model::SplitModel, kind::Symbol, full::Bool)
    return get!(model.cache, (kind, full)) do
        f2 = ode_function(model.second, :explicit, full)
        model.linear ? LinearSplit(jacobian(model.first, full), f2) :
            SplitFunction{true, FullSpecialize}(ode_function(model.first, kind, full), f2)
    end
end

own_options(::Union{SplitFunction, LinearSplit}, ::AbstractModel) = (;)

problem_of(f::SplitFunction, ::AbstractModel, u0::Vec, p::Vec, t0::Float64, t1::Float64) =
    SplitODEProblem{true}(f, u0, (t0, t1), p)

function problem_of(
        f::LinearSplit, model::SplitModel, u0::Vec, p::Vec, t0::Float64, t1::Float64
    )
    pattern = model.first.pattern
    matrix = pattern === nothing ? zeros(model.n, model.n) : copy(pattern)
    f.jac(matrix, u0, p, t0)
    split = SplitFunction{true, FullSpecialize}(ODEFunction(MatrixOperator(matrix)), f.f2)
    return problem_of(split, model, u0, p, t0, t1)
end

# One type stands for several methods.
function title(alg::OrdinaryDiffEqBDF.SBDF)
    alg.order > 1 && return "SBDF$(alg.order)"
    return alg.ark ? "IMEXEulerARK" : "IMEXEuler"
end
