# Compile, into the package image, what the first gradient of any model needs.

function workload_vjp(out, u, p, t, w, work)
    out[1] = (p[1] - p[2] * u[2]) * w[1] + p[2] * u[2] * w[2]
    out[2] = -p[2] * u[1] * w[1] + (p[2] * u[1] - p[1]) * w[2]
    return nothing
end

function workload_vjp_p(out, u, p, t, w, work)
    out[1] = u[1] * w[1] - u[2] * w[2]
    out[2] = u[1] * u[2] * (w[2] - w[1])
    return nothing
end

function workload(name, method)
    model = PySciML.workload_model()
    model.functions[:vjp] = (workload_vjp, Float64[])
    model.functions[:vjp_p] = (workload_vjp_p, Float64[])
    u0, p, saveat = [1.0, 1.0], [1.0, 0.5], [0.0, 0.5, 1.0]
    plan = PySciML.plan(
        model, PySciML.make_algorithm(name, (), 1e-6), saveat, true, false, true, 0.0, 0.0, NaN, 10_000,
        Float64[], 1e-6, 1e-3, nothing
    )
    how = PySciML.recipe(plan, method, nothing, nothing, nothing)
    info, reached, t, u = zeros(Int, 10), zeros(2), zeros(3), zeros(6)
    w, du0, dp = ones(6), zeros(2), zeros(2)
    GC.@preserve u0 p info reached t u w du0 dp begin
        at(x) = Int(pointer(x))
        tape = PySciML.solve(
            how, at(u0), at(p), 2, 0.0, 1.0, at(info), at(reached), at(t), at(u), 3, false, false
        )
        info[1] == 3 && PySciML.pull!(tape, at(w), at(du0), at(dp)) == 0 ||
            error("the workload failed: " * join(PySciML.last_error(), ": "))
    end
    return nothing
end

PrecompileTools.@compile_workload begin
    foreach(name -> workload(name, "GaussAdjoint"), ("Tsit5", "Vern7", "", "Rodas5P"))
    workload("Tsit5", "InterpolatingAdjoint")
end
