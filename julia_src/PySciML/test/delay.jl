# A delay differential equation, from Julia alone: u' = -p u(t - 1) with u = 1 before 0.

const Delay = PySciML.extension("PySciMLDelayExt")

@testset "delays" begin
    rhs, times, history = (PySciML.Model(1, nothing) for _ in 1:3)
    write(model, which, line) = PySciML.compile!(
        model, which, "function delay_$which$(objectid(model))(out, u, p, t, work); out[1] = $line; " *
            "return nothing; end", "delay_$which$(objectid(model))", Float64[])
    write(rhs, "f", "-p[1] * u[2]")
    write(rhs, "jac", "0.0")
    write(times, "f", "t - 1.0")
    write(history, "f", "1.0")
    write(history, "tgrad", "0.0")
    model = Delay.DelayedModel(rhs, times, history, [], [0], [0], Int[], Float64[], false)
    @testset "$name" for name in ("Tsit5", "Rodas5P", "")
        alg = Delay.method_of_steps(name, (), 1e-8)
        sol = solve(model, name, [1.0], [1.0], 0.0, 2.0; saveat = [0.5, 1.5, 2.0], alg)
        @test sol.retcode == "Success"
        @test sol.u ≈ [0.5 -0.375 -0.5] rtol = 1e-6
    end
end
