# Algorithms by name.

"name => (library, uuid)"
const Libraries = Dict{Symbol, Tuple{String, Base.UUID}}

"A table's libraries; the names begin in column `first` of its lines."
function read_table(file::AbstractString, first::Int)
    path = joinpath(dirname(@__DIR__), file)
    include_dependency(path)
    table = Libraries()
    for line in eachline(path)
        (isempty(line) || startswith(line, '#')) && continue
        words = split(line)
        for name in words[first:end]
            table[Symbol(name)] = (String(words[1]), Base.UUID(words[2]))
        end
    end
    return table
end

const ODE_LIBRARIES = read_table("algorithms.txt", 3)
const TWO_PART_LIBRARIES = read_table("two_part_algorithms.txt", 4)
const LIBRARY_OF =
    merge(ODE_LIBRARIES, TWO_PART_LIBRARIES, read_table("stochastic_algorithms.txt", 6))

struct UnknownAlgorithm <: Exception
    message::String
end
Base.showerror(io::IO, e::UnknownAlgorithm) = print(io, e.message)

"The loaded modules that can hold algorithms: sub-libraries of OrdinaryDiffEq and StochasticDiffEq."
function solver_modules()
    families = ("OrdinaryDiffEq", "StochasticDiffEq")
    return [m for (id, m) in Base.loaded_modules if any(startswith(id.name, f) for f in families)]
end

function find_loaded(name::Symbol)
    for m in solver_modules()
        if isdefined(m, name) && is_algorithm(getfield(m, name), name)
            return getfield(m, name)
        end
    end
    return nothing
end

const Algorithm = Union{
    OrdinaryDiffEqCore.OrdinaryDiffEqAlgorithm, DAEAlgorithm, SciMLBase.AbstractSDEAlgorithm,
}

is_algorithm(x, name) = x isa Type && x <: Algorithm
is_algorithm(f::Function, name) = haskey(LIBRARY_OF, name)  # DefaultODEAlgorithm, AutoTsit5, ...

"The constructor of that name. Its library is loaded when it is in the environment."
function constructor(name::Symbol)
    found = find_loaded(name)
    found === nothing || return found
    haskey(LIBRARY_OF, name) || throw(UnknownAlgorithm("there is no algorithm named $name"))
    library, uuid = LIBRARY_OF[name]
    id = Base.PkgId(uuid, library)
    if Base.locate_package(id) === nothing
        throw(UnknownAlgorithm(
            "$name is in the Julia package $library, which is not in the Julia environment; " *
            "add it there: import Pkg; Pkg.add(\"$library\")"))
    end
    Base.require(id)
    found = Base.invokelatest(find_loaded, name)
    found === nothing && throw(UnknownAlgorithm("the installed $library has no $name"))
    return found
end

"Names of all algorithms for ODEs: the table's, where their library is installed, and those loaded."
function algorithm_names()
    found = Set{Symbol}()
    for (name, (library, uuid)) in ODE_LIBRARIES
        startswith(library, "OrdinaryDiffEq") || continue
        Base.locate_package(Base.PkgId(uuid, library)) === nothing || push!(found, name)
    end
    for m in solver_modules(), name in names(m)
        is_ode_algorithm(getfield(m, name), name) && push!(found, name)
    end
    setdiff!(found, setdiff(keys(TWO_PART_LIBRARIES), keys(ODE_LIBRARIES)))
    return sort!(setdiff!(String.(collect(found)), implicit_names()))
end

is_ode_algorithm(x, name) = x isa Type && x <: OrdinaryDiffEqCore.OrdinaryDiffEqAlgorithm
is_ode_algorithm(f::Function, name) = haskey(ODE_LIBRARIES, name)

"Names of the algorithms for implicit problems, of which OrdinaryDiffEqBDF is all there is."
implicit_names() = [
    String(name) for name in names(OrdinaryDiffEqBDF)
        if getfield(OrdinaryDiffEqBDF, name) isa Type{<:DAEAlgorithm}
]

"Keyword names of a constructor; empty when it takes whatever it is given."
function keywords(T)
    declared = reduce(vcat, (Base.kwarg_decl(m) for m in methods(T)); init = Symbol[])
    return unique(declared)
end

# What a string stands for as the value of an option.
function option_value(key::Symbol, value::AbstractString)
    name = Symbol(value)
    key === :linsolve && return named(LinearSolve, name, "linear solver")
    key === :interpretation && return getfield(SciMLBase.AlgorithmInterpretation, name)
    key in (:nlsolve, :relax) && return named(nonlinear_solvers(), name, "nonlinear solver")
    return name
end
option_value(::Symbol, value) = value

function named(m::Module, name::Symbol, what)
    isdefined(m, name) && return getfield(m, name)()
    throw(ArgumentError("there is no $what named $name"))
end

function nonlinear_solvers()
    id = Base.PkgId(Base.UUID("127b3ac7-2247-4354-8eb6-78cf4e7c58e8"), "OrdinaryDiffEqNonlinearSolve")
    return Base.require(id)
end

"""
    algorithm(name, options) -> algorithm

From "Rodas5P", or a composite such as "AutoTsit5(Rosenbrock23)". Options go to the outer one.
"""
function algorithm(name::AbstractString, options)
    return build_algorithm(Meta.parse(String(name); raise = false), option_values(options))
end

option_values(options) =
    Dict{Symbol, Any}(Symbol(k) => option_value(Symbol(k), v) for (k, v) in options)

build_algorithm(name::Symbol, options) = construct(constructor(name), name, (), options)

function build_algorithm(call::Expr, options)
    call.head === :call || throw(UnknownAlgorithm("$call is not the name of an algorithm"))
    inner = map(arg -> build_algorithm(arg, Dict{Symbol, Any}()), call.args[2:end])
    name = call.args[1]
    name isa Symbol || throw(UnknownAlgorithm("$name is not the name of an algorithm"))
    return construct(constructor(name), name, inner, options)
end

build_algorithm(other, _) = throw(UnknownAlgorithm("$other is not the name of an algorithm"))

# of a constructor that takes any keyword and hands them on: the one that it hands them to
const CONSTRUCTED_BY = Dict(:STrapezoid => :ImplicitEM, :SImplicitMidpoint => :ImplicitEM)

const STIFF_PARTNER = Dict(:AutoSOSRI2 => :ImplicitRKMil, :AutoSOSRA2 => :SKenCarp)

# options that are no keywords
const POSITIONAL = Dict(:EM => :split, :LambaEM => :split)

function construct(T, name::Symbol, inner, options)
    allowed = Base.invokelatest(keywords, constructor(get(CONSTRUCTED_BY, name, name)))
    haskey(POSITIONAL, name) && push!(allowed, POSITIONAL[name])
    takes_any = any(k -> endswith(String(k), "..."), allowed)
    for key in keys(options)
        takes_any || key in allowed || throw(ArgumentError(
            "$name has no option $key; it has $(join(sort(String.(allowed)), ", "))"))
    end
    # an automatic switch needs a stiff method
    if isempty(inner) && startswith(String(name), "Auto") && T isa Function
        inner = (build_algorithm(get(STIFF_PARTNER, name, :Rodas5P), Dict{Symbol, Any}()),)
    end
    given = copy(options)
    # Derivatives come from the model. Whatever else a method wants to differentiate is done by
    # finite differences: generated code takes Float64 only, never dual numbers.
    differentiates = :autodiff in allowed || name in (:DefaultODEAlgorithm, :DefaultImplicitODEAlgorithm)
    if differentiates
        get!(given, :autodiff, AutoFiniteDiff())
    end
    if haskey(given, get(POSITIONAL, name, :none))
        inner = (inner..., pop!(given, POSITIONAL[name]))
    end
    return call_constructor(T, inner, given)
end

# Some options are types (`lazy = Val(false)`, `max_order = Val(3)`): plain values stand for them.
function call_constructor(T, inner, options)
    try
        return Base.invokelatest(T, inner...; options...)
    catch error
        error isa Union{MethodError, TypeError} || rethrow()
        typed = Dict(k => v isa Union{Bool, Int} ? Val(v) : v for (k, v) in options)
        typed == options && rethrow()
        return Base.invokelatest(T, inner...; typed...)
    end
end

members(alg::CompositeAlgorithm) = alg.algs
members(alg) = (alg,)

"What a method needs of the model: `:explicit`, `:implicit` or `:krylov` (see `ode_function`)."
function kind_of(alg, n::Int)
    parts = members(alg)
    any(a -> hasfield(typeof(a), :autodiff), parts) || return :explicit
    # the default algorithm turns to Krylov methods above n = 500 only
    is_default = OrdinaryDiffEqCore.isdefaultalg(alg)
    krylov = any(matrix_free, parts) && !(is_default && n <= 500)
    return krylov ? :krylov : :implicit
end

function matrix_free(alg)
    hasfield(typeof(alg), :linsolve) || return false
    solver = alg.linsolve
    return solver !== nothing && !LinearSolve.needs_concrete_A(solver)
end

"The name of an algorithm that ran, as Python shows it."
title(alg) = String(nameof(typeof(alg)))
title(alg::CompositeAlgorithm) =
    OrdinaryDiffEqCore.isdefaultalg(alg) ? "DefaultODEAlgorithm" :
    "Auto(" * join(map(title, alg.algs), ", ") * ")"
