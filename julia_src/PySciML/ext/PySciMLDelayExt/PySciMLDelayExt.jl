"""
Delay differential equations by DelayDiffEq's method of steps.

A model is a bag of generated functions; see `pysciml.capture.delays` for what each of them is and
`pysciml.engines.julia.delay` for the other side.
"""
module PySciMLDelayExt

using DelayDiffEq: MethodOfSteps
using OrdinaryDiffEqBDF: FBDF
using PrecompileTools: PrecompileTools
using PySciML: PySciML, AbstractModel, Body, DenseJac, Model, Vec, wrap
using SciMLBase: DDEFunction, DDEProblem, FullSpecialize

"""
The functions: `rhs` has "f" and "jac", of the state with the delayed states behind it; `times` has
"f", the times that f asks for; `history` has "f" and its derivative in time, "tgrad"; each of
`lags` has "f", a lag that depends on the state.
"""
struct DelayedModel <: AbstractModel
    n::Int
    rhs::Model
    times::Model
    history::Model
    lags::Vector{Model}
    orders::Vector{Int}  # of the derivative that is asked for at each of the times
    constant::Vector{Int}  # which lags depend on p only
    dependent::Vector{Int}  # which of those to watch that depend on the state
    given::Vec  # constant lags, in the place of those of f
    neutral::Bool
    cache::Dict{Tuple{Symbol, Bool}, Any}
end

function DelayedModel(rhs, times, history, lags, orders, constant, dependent, given, neutral)
    from_one(indices) = Vector{Int}(indices) .+ 1
    return DelayedModel(
        times.n, rhs, times, history, Vector{Model}(lags), Vector{Int}(orders),
        from_one(constant), from_one(dependent), Vec(given), neutral, Dict()
    )
end

"Fills in the delayed states behind the state."
struct Past{B}
    body::B
    work::Vec
    orders::Vector{Int}
    times::Vec
    delayed::Vec
    x::Vec
end

@inline function (k::Past)(u::Vec, h::H, p::Vec, t::Float64) where {H}
    n = length(u)
    copyto!(k.x, u)
    k.body(k.times, u, p, t, k.work)
    for i in eachindex(k.times)
        if k.orders[i] == 0
            h(k.delayed, p, k.times[i])
        else
            h(k.delayed, p, k.times[i], Val{1})
        end
        copyto!(k.x, i * n + 1, k.delayed, 1, n)
    end
    return k.x
end

"`f(du, u, h, p, t)`"
struct DelayedRHS{B, P <: Past}
    body::B
    work::Vec
    past::P
end

function (k::DelayedRHS)(du::Vec, u::Vec, h::H, p::Vec, t::Float64) where {H}
    PySciML.poll()
    k.body(du, k.past(u, h, p, t), p, t, k.work)
    return nothing
end

"`jac(J, u, h, p, t)`"
struct DelayedJac{J <: DenseJac, P <: Past}
    jac::J
    past::P
end

(k::DelayedJac)(J, u, h, p, t) = k.jac(J, k.past(u, h, p, Float64(t)), p, t)

"The state before t0: `h(p, t)`, `h(out, p, t)` and `h(out, p, t, Val{1})` for its derivative."
struct History{B}
    body::B
    work::Vec
    slope_body::B
    slope_work::Vec
    unused::Vec  # the state, which a history does not depend on
end

(h::History)(out, p, t) = (h.body(out, h.unused, p, Float64(t), h.work); nothing)
(h::History)(out, p, t, ::Type{Val{1}}) =
    (h.slope_body(out, h.unused, p, Float64(t), h.slope_work); nothing)
function (h::History)(p, t)
    out = similar(h.unused)
    h(out, p, t)
    return out
end

"`lag(u, p, t)`, from the time that is asked for or from a lag itself."
struct Lag{B}
    body::B
    work::Vec
    out::Vec
    index::Int
    is_time::Bool
end

function (k::Lag)(u, p, t)
    k.body(k.out, PySciML.plain(u), p, Float64(t), k.work)
    return k.is_time ? t - k.out[k.index] : k.out[k.index]
end

Base.copy(k::Past) =
    Past(k.body, copy(k.work), k.orders, copy(k.times), copy(k.delayed), copy(k.x))
Base.copy(k::DelayedRHS) = DelayedRHS(k.body, copy(k.work), copy(k.past))
Base.copy(k::DelayedJac) = DelayedJac(copy(k.jac), copy(k.past))
Base.copy(k::History) =
    History(k.body, copy(k.work), k.slope_body, copy(k.slope_work), copy(k.unused))
Base.copy(k::Lag) = Lag(k.body, copy(k.work), copy(k.out), k.index, k.is_time)
Base.deepcopy_internal(k::Union{Past, DelayedRHS, DelayedJac, History, Lag}, ::IdDict) = copy(k)

function PySciML.function_of(model::DelayedModel, kind::Symbol, full::Bool)
    return get!(model.cache, (kind, full)) do
        Base.invokelatest(build_function, model, kind, full)
    end
end

function build_function(model::DelayedModel, kind::Symbol, full::Bool)
    f = DelayedRHS(body(model.rhs, :f, full)..., past(model, full))
    kind === :explicit && return DDEFunction{true, FullSpecialize}(f)
    rows = DenseJac(body(model.rhs, :jac, full)..., zeros(model.n^2))
    return DDEFunction{true, FullSpecialize}(f; jac = DelayedJac(rows, past(model, full)))
end

function body(model::Model, which::Symbol, full::Bool)
    f, work = model.functions[which]
    return wrap(Body, f, full), copy(work)
end

function past(model::DelayedModel, full::Bool)
    k = length(model.orders)
    return Past(
        body(model.times, :f, full)..., model.orders, zeros(k), zeros(model.n),
        zeros((k + 1) * model.n)
    )
end

function PySciML.problem_of(
        f::DDEFunction, model::DelayedModel, u0::Vec, p::Vec, t0::Float64, t1::Float64
    )
    h = History(body(model.history, :f, false)..., body(model.history, :tgrad, false)..., similar(u0))
    return DDEProblem{true}(
        f, u0, h, (t0, t1), p;
        constant_lags = constant_lags(model, u0, p), dependent_lags = dependent_lags(model),
        neutral = model.neutral, order_discontinuity_t0 = Int(h(p, t0) == u0)
    )
end

# The past is interpolated, whatever is saved; without it, implicit methods leave off what that takes.
PySciML.own_options(::DDEFunction, ::DelayedModel) = (; calck = true)

function constant_lags(model::DelayedModel, u0::Vec, p::Vec)
    isempty(model.given) || return model.given
    times, (f, work) = zeros(length(model.orders)), body(model.times, :f, false)
    f(times, u0, p, 0.0, work)  # at 0, to round nothing
    return unique!(sort!(-times[model.constant]))
end

function dependent_lags(model::DelayedModel)
    isempty(model.lags) || return [Lag(body(lag, :f, false)..., zeros(1), 1, false) for lag in model.lags]
    k = length(model.orders)
    return [Lag(body(model.times, :f, false)..., zeros(k), i, true) for i in model.dependent]
end

"""
    method_of_steps(name, options, reltol)

The method of steps with a method for ODEs, by its name ("" for the default). Its own option
`constrained`, steps no longer than the shortest lag, is among the method's. Longer steps are
iterated, which FBDF does not survive: it takes each iteration for another step.
"""
function method_of_steps(name, options, reltol)
    inner = Dict{Symbol, Any}(Symbol(k) => v for (k, v) in options)
    constrained = pop!(inner, :constrained, nothing)
    alg = PySciML.make_algorithm(name, inner, reltol)
    constrained = something(constrained, any(a -> a isa FBDF, PySciML.members(alg)))
    return MethodOfSteps(alg; constrained)
end

is_constrained(::MethodOfSteps{A, F, constrained}) where {A, F, constrained} = constrained

PySciML.kind_of(alg::MethodOfSteps, n::Int) =
    PySciML.kind_of(alg.alg, n) === :explicit ? :explicit : :implicit
PySciML.title(alg::MethodOfSteps) = "MethodOfSteps(" * PySciML.title(alg.alg) * ")"

include("precompile.jl")

end
