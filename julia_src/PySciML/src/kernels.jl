# Generated functions, and the callables of fixed type that the solvers see.

const Vec = Vector{Float64}

# body(out, u, p, t, work) and, for products with a vector, body(out, u, p, t, v, work)
const Body = FunctionWrapper{Nothing, Tuple{Vec, Vec, Vec, Float64, Vec}}
const VBody = FunctionWrapper{Nothing, Tuple{Vec, Vec, Vec, Float64, Vec, Vec}}

"Where generated source lives. Names come from a hash of the text, so they never collide."
module Generated
using LinearAlgebra
using ..Elementary
using ..Products
end

const COMPILED = Dict{String, Function}()
const SOURCES = Dict{Symbol, String}()

"""
    evaluate(text, name) -> Function

The function `name` that `text` defines, evaluated once per session.
"""
function evaluate(text::AbstractString, name::AbstractString)
    return get!(COMPILED, String(name)) do
        SOURCES[Symbol(name)] = text
        Core.eval(Generated, Meta.parseall(String(text)))
        Base.invokelatest(getfield, Generated, Symbol(name))::Function
    end
end

"The text that a generated function was evaluated from."
source(f::Function) = SOURCES[nameof(f)]

plain(x::Vec) = x
plain(x::AbstractArray) = Vec(vec(x))
plain(::SciMLBase.NullParameters) = Float64[]
plain(::Nothing) = Float64[]
plain(x) = Vec(collect(Float64, x))

"""
    RHS(body, work)

`f(du, u, p, t)`. It owns its scratch space: one copy per thread (`copy`, `deepcopy`).
Arrays of other types than `Vector{Float64}` (views, what diffeqpy passes) go through a copy.
"""
struct RHS{B}
    body::B
    work::Vec
    poll::Poll
end

RHS(body, work) = RHS(body, work, Poll())

@inline function (k::RHS)(du::Vec, u::Vec, p::Vec, t::Float64)
    poll(k.poll)
    k.body(du, u, p, t, k.work)
    return nothing
end

function (k::RHS)(du::AbstractArray, u::AbstractArray, p, t)
    out = Vec(undef, length(du))
    k(out, plain(u), plain(p), Float64(t))
    copyto!(du, out)
    return nothing
end

"`tgrad(dT, u, p, t)`"
struct TGrad{B}
    body::B
    work::Vec
end

@inline function (k::TGrad)(dT::Vec, u::Vec, p::Vec, t::Float64)
    k.body(dT, u, p, t, k.work)
    return nothing
end

function (k::TGrad)(dT::AbstractArray, u::AbstractArray, p, t)
    out = Vec(undef, length(dT))
    k(out, plain(u), plain(p), Float64(t))
    copyto!(dT, out)
    return nothing
end

"`jac(J, u, p, t)`, or another matrix such as an SDE's noise, from a body that writes it row by row."
struct DenseJac{B}
    body::B
    work::Vec
    rows::Vec
end

function (k::DenseJac)(J::AbstractMatrix, u::AbstractArray, p, t)
    k.body(k.rows, plain(u), plain(p), Float64(t), k.work)
    n, m = size(J)
    @inbounds for j in 1:m, i in 1:n
        J[i, j] = k.rows[(i - 1) * m + j]
    end
    return nothing
end

"`jvp(Jv, v, u, p, t)`, `vjp(Jv, v, u, p, t)` and `vjp_p(Jv, v, u, p, t)`"
struct Product{B}
    body::B
    work::Vec
end

@inline function (k::Product)(Jv::Vec, v::Vec, u::Vec, p::Vec, t::Float64)
    k.body(Jv, u, p, t, v, k.work)
    return nothing
end

function (k::Product)(Jv::AbstractArray, v::AbstractArray, u::AbstractArray, p, t)
    out = Vec(undef, length(Jv))
    k(out, plain(v), plain(u), plain(p), Float64(t))
    copyto!(Jv, out)
    return nothing
end

const Kernel = Union{RHS, TGrad, Product}

Base.copy(k::K) where {K <: Kernel} = K(k.body, copy(k.work))
Base.copy(k::RHS) = RHS(k.body, copy(k.work), Poll(k.poll.stop))
Base.copy(k::K) where {K <: DenseJac} = K(k.body, copy(k.work), copy(k.rows))
Base.deepcopy_internal(k::Union{Kernel, DenseJac}, ::IdDict) = copy(k)
