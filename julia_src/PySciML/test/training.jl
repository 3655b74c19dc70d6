# A whole optimisation, from Julia alone: fit two of the three parameters.

PySciML.extension("PySciMLTrainingExt")

const TOLD = Tuple{Float64, Vector{Float64}}[]
const BUFFER = zeros(2)
told(value::Cdouble)::Cint = (push!(TOLD, (value, copy(BUFFER))); 0)

@testset "training" begin
    data = solve(lotka_volterra(), "Vern9", [1.0, 1.0], P, 0.0, 10.0; saveat = SAVED,
        abstol = 1e-13, reltol = 1e-13).u
    listed = join(vec(data), ", ")
    starts = """
        function fit_starts(out, u, p, t, work)
            out[1] = 1.0; out[2] = 1.0; out[3] = u[1]; out[4] = u[2]; out[5] = 1.0
            return nothing
        end"""
    starts_vjp = """
        function fit_starts_vjp(out, u, p, t, work)
            out[1] = p[3]; out[2] = p[4]
            return nothing
        end"""
    loss = """
        function fit_loss(out, u, p, t, work)
            data = ($listed)
            out[1] = sum((u[i] - data[i])^2 for i in 1:6)
            for i in 1:6
                out[1 + i] = 2 * (u[i] - data[i])
            end
            out[8] = 0.0; out[9] = 0.0
            return nothing
        end"""
    plan = PySciML.plan(
        differentiable(), PySciML.make_algorithm("Tsit5", (), 1e-6), SAVED, true, false, true, 0.0, 0.0,
        NaN, 10^6, Float64[], 1e-9, 1e-9, nothing
    )
    objective = PySciML.objective(
        2, 2, 5, 6, false, starts, "fit_starts", Float64[], starts_vjp, "fit_starts_vjp", Float64[],
        loss, "fit_loss", Float64[]
    )
    PySciML.add_solve!(
        objective, PySciML.recipe(plan, "GaussAdjoint", nothing, nothing, nothing), 0.0, 10.0, 3
    )
    report = Int(@cfunction(told, Cint, (Cdouble,)))
    buffer = Int(pointer(BUFFER))
    theta = [1.05, 2.95]
    GC.@preserve BUFFER begin
        @test PySciML.adam!(objective, theta, fill(0.01, 50), 0.9, 0.999, 1e-8, nothing, report, buffer) == 0
        @test length(TOLD) == 50
        @test last(TOLD)[1] < first(TOLD)[1]
        @test PySciML.quasi_newton!(objective, theta, 10, 100, 1e-12, report, buffer) == 0
        @test last(TOLD)[2] ≈ P[1:2] rtol = 1e-6
    end
end
