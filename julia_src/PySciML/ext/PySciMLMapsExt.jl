"""
Maps, u[k + 1] = f(u[k], p, k), by FunctionMap.

See `pysciml.engines.julia.maps` for the other side.
"""
module PySciMLMapsExt

using CommonSolve: CommonSolve
using OrdinaryDiffEqFunctionMap: FunctionMap
using PrecompileTools: PrecompileTools
using PySciML: PySciML, AbstractModel, Body, Model, Plan, RHS, Vec
using SciMLBase: SciMLBase, DiscreteFunction, DiscreteProblem, FullSpecialize, ReturnCode

"`model` has the map as \"f\"."
struct MapModel <: AbstractModel
    n::Int
    model::Model
    cache::Dict{Bool, Any}
end

MapModel(model::Model) = MapModel(model.n, model, Dict())

"The next state has a number that is not finite."
struct NotFinite <: Exception end

"`f(new, u, p, t)`, where t is the number of the new state, as FunctionMap counts: k + 1."
struct Next{F}
    map::F
end

function (next::Next)(new::Vec, u::Vec, p::Vec, t::Float64)
    next.map(new, u, p, t - 1.0)
    all(isfinite, new) || throw(NotFinite())
    return nothing
end

function PySciML.function_of(model::MapModel, ::Symbol, full::Bool)
    return get!(() -> Base.invokelatest(build, model.model, full), model.cache, full)
end

build(model::Model, full::Bool) =
    DiscreteFunction{true, FullSpecialize}(Next(PySciML.kernel(RHS, Body, model, :f, full)))

PySciML.problem_of(f::DiscreteFunction, ::MapModel, u0::Vec, p::Vec, t0::Float64, t1::Float64) =
    DiscreteProblem{true}(f, u0, (t0, t1), p)

PySciML.own_options(::DiscreteFunction, ::MapModel) = (;)
PySciML.poll_of(f::DiscreteFunction) = f.f.map.poll

# The state before is the last one, so a run is stopped before it saves the next.
function PySciML.integrate(
        f::F, plan::Plan, u0::Vec, p::Vec, t0::Float64, t1::Float64, ::Any, more::NamedTuple
    ) where {F <: DiscreteFunction}
    (; alg, abstol, reltol, save_idxs) = plan
    integrator = PySciML.start(f, alg, plan, abstol, reltol, save_idxs, u0, p, t0, t1, more)
    try
        CommonSolve.solve!(integrator)
    catch error
        error isa NotFinite || rethrow()
        integrator.sol = SciMLBase.solution_new_retcode(integrator.sol, ReturnCode.Unstable)
    end
    return integrator
end

function workload(saveat)
    model = Model(1, nothing)
    model.functions[:f] = ((out, u, p, t, work) -> (out[1] = 0.5 * u[1]; nothing), Float64[])
    plan = PySciML.plan(
        MapModel(model), FunctionMap(), saveat, true, false, true, 1.0, 0.0, NaN, 10, Float64[], 1.0e-6,
        1.0e-3, nothing
    )
    f = PySciML.function_of(plan.model, plan.kind, false)
    integrator = PySciML.integrate(f, plan, [1.0], [0.0], 0.0, 2.0, CommonSolve.solve!, (;))
    last(integrator.sol.u) == [0.25] || error("the workload failed")
    return nothing
end

PrecompileTools.@compile_workload begin
    foreach(workload, ([0.0, 2.0], Float64[]))
end

end
