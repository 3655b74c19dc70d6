# Differential-algebraic equations in implicit form, f(du, u, p, t) = 0.

"""
    ImplicitModel(residual, differential)

`residual` has "f" and "jac", of du with u behind it; `differential`: for each entry of u, whether it
is a differential one (not 0).
"""
struct ImplicitModel <: AbstractModel
    n::Int
    residual::Model
    differential::Vector{Bool}
    cache::Dict{Bool, Any}
end

ImplicitModel(residual::Model, differential) =
    ImplicitModel(length(differential), residual, Vector{Bool}(differential .!= 0), Dict())

"`f(out, du, u, p, t)`"
struct Residual{B}
    body::B
    work::Vec
    x::Vec
end

function (k::Residual)(out::Vec, du::Vec, u::Vec, p::Vec, t::Float64)
    poll()
    k.body(out, joined!(k.x, du, u), p, t, k.work)
    return nothing
end

"`jac(J, du, u, p, gamma, t)`, gamma df/d(du) + df/du"
struct ResidualJac{B}
    body::B
    work::Vec
    x::Vec
    rows::Vec
end

function (k::ResidualJac)(J::AbstractMatrix, du, u, p, gamma, t)
    k.body(k.rows, joined!(k.x, du, u), p, Float64(t), k.work)
    n = length(u)
    @inbounds for j in 1:n, i in 1:n
        row = 2n * (i - 1)
        J[i, j] = gamma * k.rows[row + j] + k.rows[row + n + j]
    end
    return nothing
end

function joined!(x::Vec, du, u)
    copyto!(x, du)
    return copyto!(x, length(du) + 1, u, 1, length(u))
end

Base.copy(k::Residual) = Residual(k.body, copy(k.work), copy(k.x))
Base.copy(k::ResidualJac) = ResidualJac(k.body, copy(k.work), copy(k.x), copy(k.rows))
Base.deepcopy_internal(k::Union{Residual, ResidualJac}, ::IdDict) = copy(k)

function function_of(model::ImplicitModel, ::Symbol, full::Bool)
    return get!(model.cache, full) do
        f, work = model.residual.functions[:f]
        jac, jac_work = model.residual.functions[:jac]
        n = model.n
        residual = Residual(wrap(Body, f, full), copy(work), zeros(2n))
        slopes = ResidualJac(wrap(Body, jac, full), copy(jac_work), zeros(2n), zeros(2n^2))
        DAEFunction{true, FullSpecialize}(residual; jac = slopes)
    end
end

start_size(model::ImplicitModel) = 2 * model.n

own_options(::DAEFunction, ::AbstractModel) = (;)

function problem_of(
        f::DAEFunction, model::ImplicitModel, start::Vec, p::Vec, t0::Float64, t1::Float64
    )
    du0, u0 = start[1:model.n], start[(model.n + 1):end]
    return DAEProblem{true}(f, du0, u0, (t0, t1), p; differential_vars = model.differential)
end

"""
    implicit_algorithm(name, options)

A method for implicit problems by name, such as "DFBDF".
"""
function implicit_algorithm(name, options)
    alg = algorithm(name, options)
    alg isa DAEAlgorithm && return alg
    known = join(implicit_names(), ", ")
    throw(UnknownAlgorithm("it is a method for ODEs; for a DAEProblem there are $known"))
end
