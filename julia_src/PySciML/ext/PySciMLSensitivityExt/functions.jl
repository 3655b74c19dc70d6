# The model's functions, as adjoints call them.

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

# found by reflection otherwise, at every call
SciMLBase.isinplace(::Transposed, ::Vararg{Any}; kwargs...) = true

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
