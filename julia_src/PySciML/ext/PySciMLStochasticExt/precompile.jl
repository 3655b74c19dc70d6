# Compile, into the package image, what the first path of any model needs.

function workload_noise(out, u, p, t, work)
    for i in eachindex(out)
        out[i] = 0.1 * p[1]
    end
    return nothing
end

function workload(name, interpretation, form, saveat, dt)
    functions = PySciML.workload_model()
    functions.functions[:g] = (workload_noise, Float64[])
    model = StochasticModel(functions, form, 2, false)
    alg = stochastic_algorithm(functions, name, Dict(), interpretation)
    plan = PySciML.plan(
        model, alg, saveat, true, false, dt == 0.0, dt, 0.0, NaN, 10_000, saveat, 1e-2, 1e-2, nothing
    )
    u0, p, info, reached, t, u = [1.0, 1.0], [1.0, 0.5], zeros(Int, 10), zeros(2), zeros(3), zeros(6)
    GC.@preserve u0 p info reached t u begin
        at(x) = Int(pointer(x))
        PySciML.solve_seeded(
            plan, 1, 0, at(u0), at(p), 2, 0.0, 1.0, at(info), at(reached), at(t), at(u), 3, false,
            false
        )
    end
    info[1] > 0 || error("the workload failed: " * join(PySciML.last_error(), ": "))
    return nothing
end

PrecompileTools.@compile_workload begin
    for saveat in ([0.0, 0.5, 1.0], Float64[])
        workload("SOSRI", "Ito", "diagonal", saveat, 0.0)
        workload("SOSRA", "Ito", "diagonal", saveat, 0.0)
        workload("LambaEM", "Ito", "matrix", saveat, 0.0)
        workload("LambaEulerHeun", "Stratonovich", "diagonal", saveat, 0.0)
        workload("EM", "Ito", "diagonal", saveat, 0.1)
    end
end
