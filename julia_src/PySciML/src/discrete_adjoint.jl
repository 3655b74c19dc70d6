# The discrete adjoint: the transpose of the very steps that an explicit Runge-Kutta method took.
# Nothing is solved backwards, so there are no tolerances, and the gradient is that of the numbers
# which the solver returned. Stages are computed again from the state at the start of their step.

"""
    Tableau(a, b, c, r, stages)

`a[j, i]`: weight of stage j in stage i; `b`: of the stages in the step; `c`: their times; `r[d, j]`:
weight of stage j in the coefficient of θ^d of the interpolant. The stages behind the first `stages`
are the interpolant's. The last one of the step is the first of the next (`fsal`) when `b` says so.
"""
struct Tableau
    a::Matrix{Float64}
    b::Vec
    c::Vec
    r::Matrix{Float64}
    stages::Int
    fsal::Bool
end

function Tableau(a, b, c, r, stages)
    weights, s = Matrix{Float64}(a), Int(stages)
    return Tableau(weights, Vec(b), Vec(c), Matrix{Float64}(r), s, weights[:, s] == b)
end

"Of a method with that tableau; when an implicit method took some of the steps, GaussAdjoint."
struct DiscreteAdjoint
    tableau::Tableau
end
DiscreteAdjoint(a, b, c, r, stages) = DiscreteAdjoint(Tableau(a, b, c, r, stages))

name_of(::Continuous{Name}) where {Name} = Name
name_of(::DiscreteAdjoint) = :DiscreteAdjoint

"One step backwards: the stages and their cotangents, as columns."
struct Backward{F, V}
    tableau::Tableau
    f::F
    vjp_up::V
    p::Vec
    states::Vector{Vec}      # at which the stages are evaluated
    slopes::Vector{Vec}      # the stages
    cotangents::Vector{Vec}  # of the stages
    pulled::Vec              # vjp_up's result
    carried::Vec             # cotangent of the first stage of the step behind
end

function Backward(model::Model, tableau::Tableau, p::Vec, full::Bool)
    n, total = model.n, length(tableau.c)
    rows() = [zeros(n) for _ in 1:total]
    f = kernel(RHS, Body, model, :f, full)
    vjp_up = kernel(Product, VBody, model, :vjp_up, full)
    return Backward(
        tableau, f, vjp_up, p, rows(), rows(), rows(), zeros(n + length(p)), zeros(n)
    )
end

function adjoint!(
        trajectory::Trajectory, r::Recipe{DiscreteAdjoint}, full, times::Vec, w, du0::Vec, dp::Vec
    )
    method, model = r.method, r.plan.model
    if trajectory.implicit
        extension("PySciMLSensitivityExt")
        other = recipe(r.plan, "GaussAdjoint", r.checkpointing, r.abstol, r.reltol)
        return Base.invokelatest(adjoint!, trajectory, other, full, times, w, du0, dp)
    end
    sol = trajectory.solution
    back = Base.invokelatest(Backward, model, method.tableau, sol.prob.p, full)
    Base.invokelatest(steps_back!, back, sol.t, sol.u, times, w, du0, dp)
    return nothing
end

"""
All steps, the last one first. `times` are the saved ones, in the order of the solve, and the
columns of `w` their cotangents.
"""
function steps_back!(back::Backward, t::Vec, u::Vector{Vec}, times::Vec, w, λ::Vec, dp::Vec)
    fill!(λ, 0.0)
    fill!(dp, 0.0)
    fill!(back.carried, 0.0)
    forward = last(t) > first(t)
    step, i = length(t), length(times)
    while step > 1 && i > 0
        t0, t1 = t[step - 1], t[step]
        while i > 0 && times[i] == t1
            λ .+= view(w, :, i)
            i -= 1
        end
        inside = i
        while i > 0 && (forward ? times[i] > t0 : times[i] < t0)
            i -= 1
        end
        saved = (i + 1):inside
        if !isempty(saved) || any(!iszero, λ) || any(!iszero, back.carried)
            step_back!(back, t0, t1, u[step - 1], view(times, saved), view(w, :, saved), λ, dp)
        end
        step -= 1
    end
    # what is left: the steps before the first saved time ...
    while step > 1
        step_back!(back, t[step - 1], t[step], u[step - 1], Float64[], w, λ, dp)
        step -= 1
    end
    if back.tableau.fsal  # ... the first stage of all ...
        pull_stage!(back, back.carried, first(u), first(t), dp)
        λ .+= view(back.pulled, eachindex(λ))
    end
    for k in 1:i  # ... and t0 itself
        λ .+= view(w, :, k)
    end
    return nothing
end

"`λ`: the cotangent of the state behind the step; then of the one before it."
function step_back!(back::Backward, t0, t1, u::Vec, times, w, λ::Vec, dp::Vec)
    tableau, K, h = back.tableau, back.cotangents, t1 - t0
    count = isempty(times) ? tableau.stages : length(tableau.c)
    stages!(back, count, t0, t1, u)
    for i in 1:count
        K[i] .= (h * tableau.b[i]) .* λ
    end
    for (k, time) in enumerate(times)
        θ = (time - t0) / h
        for i in 1:count
            weight = h * θ * evalpoly(θ, view(tableau.r, :, i))
            iszero(weight) || (K[i] .+= weight .* view(w, :, k))
        end
        λ .+= view(w, :, k)
    end
    first_own = 1
    if tableau.fsal
        K[tableau.stages] .+= back.carried
        first_own = 2
    end
    for i in count:-1:first_own
        all(iszero, K[i]) && continue
        pull_stage!(back, K[i], back.states[i], time_of(tableau, i, t0, t1), dp)
        pulled = view(back.pulled, eachindex(λ))
        λ .+= pulled
        for j in 1:(i - 1)
            weight = h * tableau.a[j, i]
            iszero(weight) || (K[j] .+= weight .* pulled)
        end
    end
    tableau.fsal && copyto!(back.carried, K[1])
    return nothing
end

"The states of the stages, and the stages that others are made of."
function stages!(back::Backward, count::Int, t0, t1, u::Vec)
    tableau, h = back.tableau, t1 - t0
    poll()
    for i in 1:count
        state = copyto!(back.states[i], u)
        for j in 1:(i - 1)
            weight = h * tableau.a[j, i]
            iszero(weight) || (state .+= weight .* back.slopes[j])
        end
        i < count && back.f(back.slopes[i], state, back.p, time_of(tableau, i, t0, t1))
    end
    return nothing
end

time_of(tableau::Tableau, i::Int, t0, t1) =
    tableau.c[i] == 1.0 ? t1 : t0 + tableau.c[i] * (t1 - t0)

"Through f at one stage: to `back.pulled` and `dp`."
function pull_stage!(back::Backward, cotangent::Vec, state::Vec, time, dp::Vec)
    back.vjp_up(back.pulled, cotangent, state, back.p, time)
    n = length(state)
    @inbounds @simd for k in eachindex(dp)
        dp[k] += back.pulled[n + k]
    end
    return nothing
end
