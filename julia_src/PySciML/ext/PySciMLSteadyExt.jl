"""
Steady states: SteadyStateDiffEq's DynamicSS with any method for ODEs, and NonlinearSolve's methods.

SteadyStateDiffEq's SSRootfind hands its problem to NonlinearSolve without the Jacobian; here that
has the captured one, as generated functions take no dual numbers.
"""
module PySciMLSteadyExt

using ADTypes: AutoFiniteDiff
using LinearAlgebra: norm, rmul!
using NonlinearSolve: NonlinearSolve
using NonlinearSolve.NonlinearSolveBase: NormTerminationMode
using NonlinearSolve.SciMLBase: NonlinearFunction, NonlinearProblem, ReturnCode, SteadyStateProblem,
    isadaptive, solve
using PySciML: PySciML, AbstractModel, Model, QUIET, UnknownAlgorithm, Vec
using SteadyStateDiffEq: DynamicSS

struct SteadyModel <: AbstractModel
    n::Int
    model::Model
end

SteadyModel(model::Model) = SteadyModel(model.n, model)

"du/dt, where a steady state is looked for"
struct Rate{F}
    f::F
end

PySciML.function_of(model::SteadyModel, kind::Symbol, full::Bool) =
    Rate(PySciML.function_of(model.model, kind, full))

struct RootFinder
    name::String
    alg::Any
end

"As an integrator, as far as `report!` looks at one."
struct Ended
    sol::Any
    t::Float64
    dt::Float64
end

function PySciML.integrate(
        f::Rate, plan::PySciML.Plan, start::Vec, p::Vec, ::Float64, ::Float64, ::Any, ::NamedTuple
    )
    PySciML.start_polling()
    return find(plan.alg, f.f, start, p, plan)
end

function find(method::DynamicSS, f, start::Vec, p::Vec, plan)
    found = solve(
        SteadyStateProblem(f, start, p), method; plan.abstol, plan.reltol,
        termination_condition = NormTerminationMode(norm),
        odesolve_kwargs = (; plan.maxiters, verbose = QUIET),
    )
    flow = found.original
    u = last(flow.u)
    ended = found.retcode == ReturnCode.Success ? found.retcode :
        flow.retcode == ReturnCode.Success ? ReturnCode.Failure : flow.retcode
    return Ended((; u = [u], t = [last(flow.t)], retcode = ended, flow.stats), last(flow.t), 0.0)
end

# The root of F = -f: PseudoTransient follows du/dt = -F, and quasi-Newton methods begin with the
# identity for F's Jacobian, which suits stable states then.
function find(method::RootFinder, f, start::Vec, p::Vec, plan)
    residual(out, u, p) = (f.f(out, u, p, 0.0); rmul!(out, -1.0))
    jac(J, u, p) = (f.jac(J, u, p, 0.0); rmul!(J, -1.0))
    options = f.jac_prototype === nothing ? (;) : (; jac_prototype = copy(f.jac_prototype))
    problem = NonlinearProblem(NonlinearFunction{true}(residual; jac, options...), start, p)
    found = solve(problem, method.alg; plan.maxiters)
    stats = counted(found.stats)
    return Ended((; u = [Vec(found.u)], t = [0.0], found.retcode, stats), 0.0, 0.0)
end

counted(s) = (; s.nf, s.njacs, nw = s.nfactors, s.nsolve, naccept = s.nsteps, nreject = 0)
counted(::Nothing) =  # the Simple... methods do not count
    (; nf = 0, njacs = 0, nw = 0, nsolve = 0, naccept = 0, nreject = 0)

"""
    follower(name, reltol)

DynamicSS with a method for ODEs.
"""
function follower(name, reltol)
    method = PySciML.make_algorithm(name, (), reltol)
    isadaptive(method) || throw(
        UnknownAlgorithm("$name has no error estimate, by which DynamicSS would choose its steps")
    )
    return DynamicSS(method)
end

"""
    root_finder(name)

A method of NonlinearSolve. What it would differentiate without a Jacobian is differenced.
"""
function root_finder(name)
    T = getfield(NonlinearSolve, Symbol(name))
    allowed = PySciML.keywords(T)
    asked = (:autodiff, :jvp_autodiff, :vjp_autodiff)
    return RootFinder(name, T(; (key => AutoFiniteDiff() for key in asked if key in allowed)...))
end

PySciML.kind_of(method::DynamicSS, n::Int) = PySciML.kind_of(method.alg, n)
PySciML.kind_of(::RootFinder, ::Int) = :implicit
PySciML.title(method::DynamicSS) = "DynamicSS($(PySciML.title(method.alg)))"
PySciML.title(method::RootFinder) = "SSRootfind($(method.name))"

end
