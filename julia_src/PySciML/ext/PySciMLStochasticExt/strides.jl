# Fixed steps, when nothing is kept of those between output times.

PySciML.runner(::SDEFunction, plan::Plan) = strides(plan) ? march! : CommonSolve.solve!

strides(plan::Plan) =
    !plan.adaptive && plan.dt > 0.0 && !isempty(plan.saveat) && issubset(plan.saveat, plan.tstops) &&
    !plan.model.model.save_noise && !(plan.alg isa StochasticCompositeAlgorithm)

"""
As `solve!`, to the last bit.

OrdinaryDiffEqCore looks for stops, failures, callbacks and a new step size around each step, which
takes as long as a short step. Up to the last steps before a stop, only the step and its noise are
left here; it sees what has failed at the next one.
"""
function march!(integrator)
    while !isempty(integrator.opts.tstops)
        CommonSolve.step!(integrator)
        integrator.sol.retcode in (ReturnCode.Default, ReturnCode.Success) || return nothing
        stride!(integrator)
    end
    CommonSolve.solve!(integrator)
    return nothing
end

function stride!(integrator)
    (; cache, dtcache, opts, p, W) = integrator
    (isempty(opts.tstops) || integrator.tdir < 0.0) && return nothing
    stop = first(opts.tstops)
    while stop - integrator.t > 2.0 * dtcache && integrator.iter < opts.maxiters
        update_uprev!(integrator)
        accept!(W, dtcache, integrator.u, p)
        integrator.dt, integrator.sqdt = dtcache, sqrt(dtcache)
        integrator.iter += 1
        integrator.success_iter += 1
        perform_step!(integrator, cache)
        integrator.tprev = integrator.t
        integrator.t += dtcache
        integrator.stats.naccept += 1
    end
    integrator.dtpropose = integrator.dt
    return nothing
end

"Add the step to the process, and draw the next: what `accept_step!` does when it rejects none."
function accept!(W, dt::Float64, u, p)
    SciMLBase.isinplace(W) || return accept_step!(W, dt, u, p)
    W.curt += W.dt
    W.curW .+= W.dW
    W.Z === nothing || (W.curZ .+= W.dZ)
    calculate_step!(W, dt, u, p)
    return nothing
end
