# The adjoint equations, by SciMLSensitivity.

"""
Jumps of the adjoint: `values[:, i]` at the i-th stop.

`left` counts down to the first stop, which is t0: when it is not 1, the solve has failed.
"""
mutable struct Jumps
    const values::Matrix{Float64}
    left::Int
end

function (j::Jumps)(out, u, p, t, i)
    j.left = i
    copyto!(out, view(j.values, :, i))
    return nothing
end

const METHODS = Dict{Symbol, Any}(
    :GaussAdjoint => GaussAdjoint, :GaussKronrodAdjoint => GaussKronrodAdjoint,
    :InterpolatingAdjoint => InterpolatingAdjoint, :QuadratureAdjoint => QuadratureAdjoint,
    :BacksolveAdjoint => BacksolveAdjoint,
)

"The gradient of sum(w[:, i] .* u(times[i])) with respect to the first state and the parameters."
function PySciML.adjoint!(trajectory::Trajectory, r::Recipe{<:Continuous}, full, times::Vec, w, du0::Vec, dp::Vec)
    stops, jumps = stops_and_jumps(trajectory, r, times, w)
    if length(stops) == 1
        copyto!(du0, view(jumps.values, :, 1))
        fill!(dp, 0.0)
        return nothing
    end
    model, implicit = r.plan.model, trajectory.implicit
    f = adjoint_function(model, length(dp), implicit || singular(model), full)
    tstops = every_other(trajectory.steps, stops)
    λ, gradient = adjoint_sensitivities(
        until(trajectory.solution, last(stops), f), backward_algorithm(implicit);
        sensealg = make_method(METHODS[PySciML.name_of(r.method)], r.checkpointing), t = stops, dgdu_discrete = jumps,
        abstol = r.abstol, reltol = r.reltol, maxiters = max(r.plan.maxiters, 1_000_000),
        dtmax = isnan(r.plan.dtmax) ? abs(last(stops) - first(stops)) : r.plan.dtmax,
        tstops, verbose = QUIET, initializealg = BrownFullBasicInit(),
        # with algebraic equations it begins with a tiny step, which is right there
        (singular(model) ? (;) : (; dt = first_step(stops, tstops)))...,
    )
    jumps.left == 1 || throw(BackwardFailure(PySciML.name_of(r.method), first(stops)))
    mul_mass!(du0, model.mass, λ)
    copyto!(dp, gradient)
    return nothing
end

"""
Times of `steps` (both in the order of the forward solve), no more than one of which lies between
two of the result and `stops`.

What p does may be over while the adjoint knows nothing of it (a dose, an initial layer): the
backward solve sees it by stepping about where the forward one did.
"""
function every_other(steps::Vec, stops::Vec)
    forward = last(stops) > first(stops)
    chosen = Vec()
    i, skipped = 1, false
    for t in steps
        while i <= length(stops) && (forward ? stops[i] <= t : stops[i] >= t)
            i += 1
            skipped = false
        end
        skipped && push!(chosen, t)
        skipped = !skipped
    end
    return chosen
end

"""
The backward solve's first step, as far as where it stops first: a step that it would have to shorten
there is not interpolated rightly (see `PySciML.cut_first_step!`), and the Gauss adjoints do that.
"""
function first_step(stops::Vec, tstops::Vec)
    t0, t1 = first(stops), last(stops)
    return minimum(abs(t1 - t) for t in [stops[1:(end - 1)]; tstops] if abs(t - t0) < abs(t1 - t0))
end

"Times at which the backward solve has to stop, in the order of the forward one, t0 first."
function stops_and_jumps(trajectory::Trajectory, r::Recipe, times::Vec, w::Matrix{Float64})
    t0, t1 = first(trajectory.solution.prob.tspan), last(times)
    # quadrature goes from stop to stop; to the other methods the steps are told apart
    also = r.method isa Continuous{:QuadratureAdjoint} ? trajectory.steps : r.plan.tstops
    inside = filter(t -> min(t0, t1) < t < max(t0, t1), also)
    stops = sort!(unique!([t0; inside; times]); rev = t1 < t0)
    at = Dict(t => i for (i, t) in enumerate(stops))
    values = zeros(size(w, 1), length(stops))
    for (i, t) in enumerate(times)
        view(values, :, at[t]) .+= view(w, :, i)
    end
    return stops, Jumps(values, 0)
end

# ZygoteVJP is the choice that prepares nothing; it never runs, for the model has vjp and vjp_p.
make_method(T, checkpointing) = T(; autojacvec = ZygoteVJP())
make_method(::Type{BacksolveAdjoint}, checkpointing) = BacksolveAdjoint(;
    autojacvec = ZygoteVJP(), checkpointing = checkpointing !== false  # start anew where one can
)

# M u' = f and M' λ' = -J' λ: the gradient with respect to u0 is M' λ
mul_mass!(du0, ::Nothing, λ) = copyto!(du0, λ)
mul_mass!(du0, M::Matrix{Float64}, λ) = mul!(du0, M', λ)

singular(model::Model) = model.mass !== nothing && any(iszero, sum(abs, model.mass; dims = 2))

# Tsit5 also after Verner's methods: an adjoint that keeps no steps does not renew their lazy
# interpolants, which the quadrature of the Gauss adjoints reads (wrong by 1e-2, at any tolerance).
backward_algorithm(implicit::Bool) = implicit ? Rodas5P(; autodiff = AutoFiniteDiff()) : Tsit5()

"The solution up to time `t`, of a problem whose function is `f`."
function until(sol, t::Float64, f)
    # An adjoint first asks for the end, from the right: a lazy interpolant would then take the last
    # step for one of length zero, for good. Asked from the left, it completes the step rightly.
    sol.dense && sol(similar(sol.prob.u0), last(sol.t))
    problem = ODEProblem{true, FullSpecialize}(
        f, sol.prob.u0, (first(sol.prob.tspan), t), sol.prob.p
    )
    sol.dense && return SciMLBase.build_solution(
        problem, sol.alg, sol.t, sol.u; dense = true, k = sol.k, interp = sol.interp,
        alg_choice = sol.alg_choice, retcode = ReturnCode.Success, stats = sol.stats,
    )
    last_one = findlast(==(t), sol.t)
    return SciMLBase.build_solution(
        problem, sol.alg, sol.t[1:last_one], sol.u[1:last_one]; retcode = ReturnCode.Success,
    )
end
