# Parts of this package that need more packages than solving does: extensions, loaded on first use.

const PROJECT_FILE = joinpath(dirname(@__DIR__), "Project.toml")
include_dependency(PROJECT_FILE)
const PROJECT = TOML.parsefile(PROJECT_FILE)

struct MissingPackage <: Exception
    message::String
end
Base.showerror(io::IO, e::MissingPackage) = print(io, e.message)

"The packages that the extension `name` waits for, as Julia knows them."
function triggers(name::AbstractString)
    names = PROJECT["extensions"][name]
    return [
        Base.PkgId(Base.UUID(PROJECT["weakdeps"][trigger]), trigger)
            for trigger in (names isa AbstractString ? [names] : names)
    ]
end

"""
    extension(name) -> Module

The extension `name`. The packages that it waits for are loaded when they are not yet.
"""
function extension(name::AbstractString)
    for id in triggers(name)
        Base.locate_package(id) === nothing && throw(
            MissingPackage("the Julia environment lacks $(id.name); `pysciml julia add $(id.name)` adds it")
        )
        Base.require(id)
    end
    found = Base.get_extension(@__MODULE__, Symbol(name))
    found === nothing && error("the extension $name could not be loaded; see the output above")
    return found
end

"Names of the extensions whose packages are all in the environment."
function installed_extensions()
    names = sort!(collect(keys(PROJECT["extensions"])))
    return filter(name -> all(id -> Base.locate_package(id) !== nothing, triggers(name)), names)
end

"The keyword arguments as a NamedTuple, which parameters of Lux models are."
named(; entries...) = NamedTuple(entries)

# Functions that extensions give their methods to.

"""
    adjoint!(trajectory, recipe, full, times, w, du0, dp)

The gradient of sum(w[:, i] .* u(times[i])) with respect to the first state and the parameters.
"""
function adjoint! end

"""
    addprocs(processes) -> Int

Start processes for `solve_distributed!` with this very environment: a number of them, or names of
machines that `ssh` reaches. How many there are more.
"""
function addprocs end

"How many of them there are."
function processes end

"""
    solve_distributed!(batch, plan, t0, t1, stop, full)

Solve a batch in the processes of Distributed. What a process has not solved when it is lost is
solved by another one; what is left when all are lost has failed.
"""
function solve_distributed! end

# Of training, see ext/PySciMLTrainingExt.jl.
function objective end
function add_solve! end
function adam! end
function quasi_newton! end

"""
    sparse_regression(method, matrix, target, thresholds, weight, proximal, maxiters, tolerance)

(outputs, terms) coefficients by a method of DataDrivenSparse, and the threshold of each output.
`matrix` has a row for each sample and a column for each term, `target` a column for each output.
"""
function sparse_regression end

"The solve backwards in time stopped early."
struct BackwardFailure <: Exception
    method::Symbol
    t::Float64
end
Base.showerror(io::IO, e::BackwardFailure) = print(
    io, "the backward solve of $(e.method) stopped before t = $(e.t); try tighter tolerances, " *
        "another sensealg, or a stiff method"
)

"The adjoint method does not suit implicit methods."
struct NotForStiff <: Exception
    method::Symbol
end
Base.showerror(io::IO, e::NotForStiff) = print(
    io, "$(e.method) is wrong for stiff problems, and an implicit method took some of the steps; " *
        "use GaussAdjoint, or an explicit method"
)
