# A model: its compiled functions and the ODEFunctions made of them.

"What a Plan is for: it has `n`, the number of states, and methods of `function_of`."
abstract type AbstractModel end

mutable struct Model <: AbstractModel
    const n::Int
    const mass::Union{Nothing, Matrix{Float64}}
    functions::Dict{Symbol, Tuple{Function, Vec}}  # generated function, initial scratch space
    pattern::Union{Nothing, SparseMatrixCSC{Float64, Int}}
    cache::Dict{Tuple{Symbol, Bool}, Any}  # ODEFunctions by (what they hold, fully specialised)
end

"""
    Model(n, mass)

`mass` is `nothing` or the mass matrix. `compile!` adds the functions.
"""
function Model(n::Integer, mass)
    matrix = mass === nothing ? nothing : Matrix{Float64}(mass)
    return Model(Int(n), matrix, Dict(), nothing, Dict())
end

"""
    compile!(model, which, text, name, work)

Give the model one of its functions, `which` of "f", "jac", "tgrad", "jvp", "vjp", "vjp_p", as
source text that defines `name`. `work` is the scratch space that it needs, constants included.
"""
function compile!(model::Model, which, text, name, work)
    model.functions[Symbol(which)] = (evaluate(text, name), Vec(work))
    return nothing
end

has(model::Model, which) = haskey(model.functions, Symbol(which))

"""
    set_pattern!(model, rows, columns)

Where the Jacobian can be nonzero (from 0). The Jacobian then comes from the jvp, coloured.
"""
function set_pattern!(model::Model, rows, columns)
    n = model.n
    # the diagonal belongs to W = M/(gamma dt) - J
    i = vcat(Vector{Int}(rows) .+ 1, 1:n)
    j = vcat(Vector{Int}(columns) .+ 1, 1:n)
    if model.mass !== nothing
        entries = findall(!iszero, model.mass)
        append!(i, first.(Tuple.(entries)))
        append!(j, last.(Tuple.(entries)))
    end
    model.pattern = sparse(i, j, ones(length(i)), n, n, max)
    return nothing
end

wrap(::Type{W}, f, full::Bool) where {W} = full ? f : W(f)

function kernel(::Type{K}, ::Type{W}, model::Model, which::Symbol, full::Bool) where {K, W}
    f, work = model.functions[which]
    return K(wrap(W, f, full), copy(work))
end

function jacobian(model::Model, full::Bool)
    if model.pattern === nothing
        f, work = model.functions[:jac]
        return DenseJac(wrap(Body, f, full), copy(work), zeros(model.n^2))
    end
    return SparseJac(kernel(Product, VBody, model, :jvp, full), model.pattern)
end

"""
    ode_function(model, kind, full) -> ODEFunction

`kind` is `:explicit` (f alone), `:implicit` (with jac and tgrad) or `:krylov` (with jvp too).
`full` compiles the solver for this very model instead of sharing the precompiled one.
"""
function ode_function(model::Model, kind::Symbol, full::Bool)
    return get!(model.cache, (kind, full)) do
        Base.invokelatest(build_function, model, kind, full)
    end
end

function build_function(model::Model, kind::Symbol, full::Bool)
    f, options = right_hand_side(model, kind, full)
    return ODEFunction{true, FullSpecialize}(f; options...)
end

"The function, and the keywords of an `ODEFunction` or `SDEFunction` that go with it."
function right_hand_side(model::Model, kind::Symbol, full::Bool)
    f = kernel(RHS, Body, model, :f, full)
    options = (; mass_matrix = mass_of(model))
    if kind !== :explicit
        tgrad = kernel(TGrad, Body, model, :tgrad, full)
        options = (; options..., jac = jacobian(model, full), tgrad)
        model.pattern === nothing || (options = (; options..., jac_prototype = model.pattern))
    end
    if kind === :krylov
        options = (; options..., jvp = kernel(Product, VBody, model, :jvp, full))
    end
    return f, options
end

function mass_of(model::Model)
    model.mass === nothing && return I
    return model.pattern === nothing ? model.mass : sparse(model.mass)
end

"""
    callable(model) -> ODEFunction

What `ODEProblem` takes as its function, and what can be called as `f(du, u, p, t)`.
"""
callable(model::Model) = ode_function(model, has(model, :tgrad) ? :implicit : :explicit, false)
