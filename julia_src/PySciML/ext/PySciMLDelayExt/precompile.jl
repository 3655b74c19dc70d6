# Compile, into the package image, what the first solve of any model needs: u' = -p u(t - 1).

workload_delayed(out, x, p, t, work) = (out[1] = -p[1] * x[2]; nothing)
workload_jac(out, x, p, t, work) = (out[1] = 0.0; nothing)
workload_time(out, u, p, t, work) = (out[1] = t - 1.0; nothing)
workload_history(out, u, p, t, work) = (out[1] = 1.0; nothing)
workload_slope(out, u, p, t, work) = (out[1] = 0.0; nothing)

function workload_model(dependent)
    models = [PySciML.Model(1, nothing) for _ in 1:3]
    rhs, times, history = models
    rhs.functions[:f] = (workload_delayed, Float64[])
    rhs.functions[:jac] = (workload_jac, Float64[])
    times.functions[:f] = (workload_time, Float64[])
    history.functions[:f] = (workload_history, Float64[])
    history.functions[:tgrad] = (workload_slope, Float64[])
    constant, watched = dependent ? (Int[], [0]) : ([0], Int[])
    return DelayedModel(rhs, times, history, Model[], [0], constant, watched, Float64[], false)
end

function workload(name, saveat, dependent)
    u0, p = [1.0], [1.0]
    info, reached = zeros(Int, 10), zeros(2)
    t, u = zeros(1000), zeros(1000)
    every = isempty(saveat)
    made = PySciML.plan(
        workload_model(dependent), method_of_steps(name, (), 1e-3), saveat, true, every, true, 0.0,
        0.0, NaN, 10_000, Float64[], 1e-6, 1e-3, nothing
    )
    GC.@preserve u0 p info reached t u begin
        at(x) = Int(pointer(x))
        outcome = PySciML.solve(
            made, at(u0), at(p), 1, 0.0, 2.0, at(info), at(reached), at(t), at(u), 1000, every,
            false
        )
        every && PySciML.interpolate!(outcome, at(t), 2, at(u))
    end
    info[1] > 0 || error("the workload failed: " * join(PySciML.last_error(), ": "))
    return nothing
end

PrecompileTools.@compile_workload begin
    for name in ("Tsit5", "", "AutoVern7(Rodas5P)"), saveat in ([0.0, 1.0, 2.0], Float64[])
        workload(name, saveat, false)
    end
    workload("", Float64[], true)
end
