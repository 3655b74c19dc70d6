# Compile, into the package image, what the first path of any reactions needs.

function workload_model()
    all = Model(2, nothing)
    reactants, net = [[0, 1, 1, 1], [1, 1]], [-1.0 1.0; 0.0 -1.0]
    return ReactionModel(all, Model[], Int[], Vector{Int}[], [0.001, 0.1], reactants, net)
end

function workload(saveat)
    alg = jump_algorithm("Direct")
    plan = PySciML.plan(
        workload_model(), alg, saveat, true, false, true, 0.0, 0.0, NaN, 10_000, Float64[], 1e-6,
        1e-3, nothing
    )
    u0, p, info, reached, t, u = [50.0, 5.0], [0.0], zeros(Int, 10), zeros(2), zeros(500), zeros(1000)
    GC.@preserve u0 p info reached t u begin
        at(x) = Int(pointer(x))
        PySciML.solve_seeded(
            plan, 1, 0, at(u0), at(p), 1, 0.0, 1.0, at(info), at(reached), at(t), at(u), 500, false,
            false
        )
    end
    info[1] > 0 || error("the workload failed: " * join(PySciML.last_error(), ": "))
    return nothing
end

PrecompileTools.@compile_workload begin
    foreach(workload, ([0.0, 0.5, 1.0], Float64[]))
end
