# Compile, into the package image, what the first solve of any model needs.
#
# The workload goes through the very functions that Python calls; a model of the same types as
# every other stands in for the user's.

function workload_rhs(out, u, p, t, work)
    out[1] = p[1] * u[1] - p[2] * u[1] * u[2]
    out[2] = p[2] * u[1] * u[2] - p[1] * u[2]
    return nothing
end

function workload_jac(out, u, p, t, work)
    out[1] = p[1] - p[2] * u[2]
    out[2] = -p[2] * u[1]
    out[3] = p[2] * u[2]
    out[4] = p[2] * u[1] - p[1]
    return nothing
end

workload_tgrad(out, u, p, t, work) = (fill!(out, 0.0); nothing)

function workload_jvp(out, u, p, t, v, work)
    out[1] = (p[1] - p[2] * u[2]) * v[1] - p[2] * u[1] * v[2]
    out[2] = p[2] * u[2] * v[1] + (p[2] * u[1] - p[1]) * v[2]
    return nothing
end

function workload_model(; mass = nothing, pattern = false)
    model = Model(2, mass)
    model.functions[:f] = (workload_rhs, Float64[])
    model.functions[:jac] = (workload_jac, Float64[])
    model.functions[:tgrad] = (workload_tgrad, Float64[])
    model.functions[:jvp] = (workload_jvp, Float64[])
    pattern && set_pattern!(model, [0, 0, 1, 1], [0, 1, 0, 1])
    return model
end

# du1 = u1 + u2, 0 = p1 u1 - u2
function workload_residual(out, x, p, t, work)
    out[1] = x[3] + x[4] - x[1]
    out[2] = p[1] * x[3] - x[4]
    return nothing
end

function workload_residual_jac(out, x, p, t, work)
    copyto!(out, (-1.0, 0.0, 1.0, 1.0, 0.0, 0.0, p[1], -1.0))
    return nothing
end

function workload_implicit()
    model = Model(4, nothing)
    model.functions[:f] = (workload_residual, Float64[])
    model.functions[:jac] = (workload_residual_jac, Float64[])
    return ImplicitModel(model, [1, 0])
end

workload_condition(out, u, p, t, work) = (out[1] = u[1] - 1.5; nothing)
workload_rate(out, u, p, t, v, work) = (out[1] = v[1]; nothing)
workload_affect(out, u, p, t, work) = (out[1] = u[1]; out[2] = 0.5 * u[2]; nothing)

"A continuous event, and one at a given time."
function workload_events()
    functions = Model(2, nothing)
    functions.functions[:values] = (workload_condition, Float64[])
    functions.functions[:rates] = (workload_rate, Float64[])
    functions.functions[:affect_0] = (workload_affect, Float64[])
    functions.functions[:affect_1] = (workload_affect, Float64[])
    return WatchedModel(
        workload_model(), functions, [0], [0.0], 10, [0, 1], Int[], Int[], 0, [0.5], [1]
    )
end

function workload_solve(model, alg, saveat; u0 = [1.0, 1.0])
    p = [1.0, 0.5]
    info, reached = zeros(Int, 10), zeros(2)
    t, u = zeros(100), zeros(200)
    every = isempty(saveat)
    made = plan(
        model, alg, saveat, true, every, true, 0.0, 0.0, NaN, 10_000, Float64[], 1e-6, 1e-3, nothing
    )
    GC.@preserve u0 p info reached t u begin
        address(x) = Int(pointer(x))
        outcome = solve(
            made, address(u0), address(p), 2, 0.0, 1.0, address(info), address(reached),
            address(t), address(u), 100, every, false
        )
        if every && outcome isa Outcome
            t[1:2] .= (0.25, 0.75)
            interpolate!(outcome, address(t), 2, address(u))
        end
        model isa WatchedModel && happened(outcome)
    end
    info[1] > 0 || error("the workload failed: " * join(last_error(), ": "))
    return nothing
end

function workload_vjp_up(out, u, p, t, w, work)
    out[1] = (p[1] - p[2] * u[2]) * w[1] + p[2] * u[2] * w[2]
    out[2] = -p[2] * u[1] * w[1] + (p[2] * u[1] - p[1]) * w[2]
    out[3] = u[1] * w[1] - u[2] * w[2]
    out[4] = u[1] * u[2] * (w[2] - w[1])
    return nothing
end

"A gradient; of any tableau, as its numbers don't matter here."
function workload_gradient(name)
    model = workload_model()
    model.functions[:vjp_up] = (workload_vjp_up, Float64[])
    u0, p, saveat = [1.0, 1.0], [1.0, 0.5], [0.0, 0.5, 1.0]
    made = plan(
        model, make_algorithm(name, (), 1e-6), saveat, true, false, true, 0.0, 0.0, NaN, 10_000,
        Float64[], 1e-6, 1e-3, nothing
    )
    method = DiscreteAdjoint(zeros(2, 2), zeros(2), [0.0, 1.0], zeros(2, 2), 2)
    how = recipe(made, method, nothing, nothing, nothing)
    info, reached, t, u = zeros(Int, 10), zeros(2), zeros(3), zeros(6)
    w, du0, dp = ones(6), zeros(2), zeros(2)
    GC.@preserve u0 p info reached t u w du0 dp begin
        at(x) = Int(pointer(x))
        tape = solve(
            how, at(u0), at(p), 2, 0.0, 1.0, at(info), at(reached), at(t), at(u), 3, false, false
        )
        info[1] == 3 && pull!(tape, at(w), at(du0), at(dp)) == 0 ||
            error("the workload failed: " * join(last_error(), ": "))
    end
    return nothing
end

PrecompileTools.@compile_workload begin
    explicit = [make_algorithm(name, (), 1e-6) for name in ("Tsit5", "Vern7")]
    default = [make_algorithm("", (), reltol) for reltol in (1e-3, 1e-8)]
    stiff = [make_algorithm(name, (), 1e-6) for name in ("Rodas5P", "FBDF", "Rosenbrock23")]
    for saveat in ([0.0, 0.5, 1.0], Float64[])
        foreach(alg -> workload_solve(workload_model(), alg, saveat), [explicit; default; stiff])
        foreach([default; stiff[1:2]]) do alg
            workload_solve(workload_model(; pattern = true), alg, saveat)
        end
        foreach(stiff[1:2]) do alg
            workload_solve(workload_model(; mass = [1.0 0.0; 0.0 1.0]), alg, saveat)
        end
        workload_solve(
            workload_implicit(), implicit_algorithm("DFBDF", ()), saveat; u0 = [2.0, 0.0, 1.0, 1.0]
        )
    end
    foreach(workload_gradient, ("Tsit5", "Vern7", ""))
    with_events = [explicit[1]; default]
    for saveat in ([0.0, 0.5, 1.0], Float64[]), alg in with_events
        workload_solve(workload_events(), alg, saveat)
    end
    algorithm_names()
end
