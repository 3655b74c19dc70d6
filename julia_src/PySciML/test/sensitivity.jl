# Gradients of a solve, from Julia alone. tests/julia has many more, through Python.

PySciML.extension("PySciMLSensitivityExt")

function differentiable()
    model = lotka_volterra()
    PySciML.compile!(
        model, "vjp", """
        function lv_vjp(out, u, p, t, w, work)
            out[1] = (work[1] - p[1] * u[2]) * w[1] + p[3] * u[2] * w[2]
            out[2] = -p[1] * u[1] * w[1] + (p[3] * u[1] - p[2]) * w[2]
            return nothing
        end
        """, "lv_vjp", [1.5])
    PySciML.compile!(
        model, "vjp_p", """
        function lv_vjp_p(out, u, p, t, w, work)
            out[1] = -u[1] * u[2] * w[1]
            out[2] = -u[2] * w[2]
            out[3] = u[1] * u[2] * w[2]
            return nothing
        end
        """, "lv_vjp_p", Float64[])
    return model
end

const SAVED = [1.0, 5.0, 10.0]
const WEIGHTS = [1.0 -0.5 0.3; 0.2 1.0 -1.0]

function recorded(model, name, method; checkpointing = nothing, tolerance = 1e-10)
    plan = PySciML.plan(
        model, PySciML.make_algorithm(name, (), 1e-6), SAVED, true, false, true, 0.0, 0.0, NaN, 10^6,
        Float64[], tolerance, tolerance, nothing
    )
    how = PySciML.recipe(plan, method, checkpointing, nothing, nothing)
    return PySciML.tape(how, [1.0, 1.0], copy(P), 0.0, 10.0, false)
end

function gradient(tape)
    du0, dp = zeros(2), zeros(3)
    PySciML.pull!(tape, copy(WEIGHTS), du0, dp)
    return [du0; dp]
end

"The same by central differences of solves with Vern9."
function differences()
    value(x) = sum(WEIGHTS .* solve(
        lotka_volterra(), "Vern9", x[1:2], x[3:5], 0.0, 10.0; saveat = SAVED, abstol = 1e-13,
        reltol = 1e-13
    ).u)
    x = [1.0, 1.0, P...]
    return map(eachindex(x)) do i
        e = zeros(5)
        e[i] = h = 1e-3
        near, far = value(x + e) - value(x - e), value(x + 2e) - value(x - 2e)
        (8near - far) / 12h
    end
end

@testset "sensitivity" begin
    expected = differences()
    methods = ("GaussAdjoint", "GaussKronrodAdjoint", "InterpolatingAdjoint", "QuadratureAdjoint")
    @testset "$name, $method" for name in ("Tsit5", "Vern7", "Rodas5P", ""), method in methods
        (name, method) == ("Rodas5P", "InterpolatingAdjoint") && continue
        tape = recorded(differentiable(), name, method)
        @test tape.retcode === SciMLBase.ReturnCode.Success
        @test tape.times == SAVED
        @test gradient(tape) ≈ expected rtol = 1e-6
    end
    @testset "refused for stiff methods" begin
        for method in ("InterpolatingAdjoint", "BacksolveAdjoint")
            @test_throws PySciML.NotForStiff recorded(differentiable(), "Rodas5P", method)
        end
    end
    @testset "checkpoints of $name" for name in ("Tsit5", "Rodas5P")
        tape = recorded(differentiable(), name, "GaussAdjoint"; checkpointing = true)
        @test gradient(tape) ≈ expected rtol = 1e-6
    end
    @testset "thinned checkpoints" begin
        kept = PySciML.Checkpoints([0.0], [[0.0]], 0, 1)
        for step in 1:10_000
            PySciML.keep!(kept, Float64(step), [Float64(step)])
        end
        @test first(kept.t) == 0.0
        @test all(==(kept.stride), diff(kept.t))
        @test kept.t == only.(kept.u)
        @test 100 <= length(kept.t) <= 400
    end
end
