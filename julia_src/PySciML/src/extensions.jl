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
            MissingPackage("the Julia environment lacks $(id.name); `pysciml julia install` adds it")
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
    recipe(plan, method, checkpointing, abstol, reltol)

A plan with the adjoint method that differentiates it, by name, for `solve` and `tape`.
`checkpointing`: keep about the square root of the number of steps and solve again between them;
`nothing`: when all steps would take much memory. `abstol` and `reltol` of the backward solve:
`nothing` for the plan's own.
"""
function recipe end

"""
    saving_at(recipe, times) -> Recipe

The same, but what it saves are the states at `times`.
"""
function saving_at end

"""
    tape(recipe, u0, p, t0, t1, full) -> Tape

Solve. The tape has the saved `times` and `states`, the `retcode`, and what `pull!` needs.
"""
function tape end

"""
    pull!(tape, w, u0, p) -> Int

From the gradient with respect to the saved states, at address `w` row by row, to the gradients
with respect to the initial state and the parameters, at `u0` and `p`. Zero, or FAILED.
"""
function pull! end

# Of training, see ext/PySciMLTrainingExt.jl.
function objective end
function add_solve! end
function adam! end
function quasi_newton! end

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
