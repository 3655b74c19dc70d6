# Events: what a callback does about them after each step. See `pysciml.events` for what they are.
#
# One callback has them all, because their order counts: states that have to stay positive or on a
# manifold are corrected, then the conditions are looked at, at points of the step's interpolant.
# Where one of them changes its sign the step is cut, at the last time before the change, and what
# happens there happens, together with what was due. The same as in the native engine (`watch.py`,
# `events.py`), and the same for all models, so that its solvers can be precompiled.

"A model with events. `due`: times at which some of them are known to happen, in order, and which."
struct WatchedModel <: AbstractModel
    n::Int
    model::AbstractModel
    functions::Model  # "values", "rates", "residual", "residual_jac", "affect_1", ...
    conditions::Vector{Int}  # the event that each of the values belongs to
    directions::Vec
    points::Int
    affects::Vector{Int}  # the events that have one
    terminal::Vector{Int}
    positive::Vector{Int}
    residuals::Int
    due_times::Vec
    due_events::Vector{Int}
end

"Events are counted from 0, as in Python, components of the state from 1."
function WatchedModel(
        model::AbstractModel, functions::Model, conditions, directions, points, affects, terminal,
        positive, residuals, due_times, due_events
    )
    return WatchedModel(
        model.n, model, functions, Vector{Int}(conditions), Vec(directions), Int(points),
        Vector{Int}(affects), Vector{Int}(terminal), Vector{Int}(positive) .+ 1, Int(residuals),
        Vec(due_times), Vector{Int}(due_events)
    )
end

const DISCRETE = 2.0  # the direction of a condition that is true (not 0) or false

function_of(model::WatchedModel, kind::Symbol, full::Bool) = function_of(model.model, kind, full)

"What happened at one time."
struct Happening
    t::Float64
    events::Vector{Int}
    states::Vector{Vec}  # before the first, between them, after the last
    row_before::Int  # which of the saved states these are, from 0; -1 for none
    row_after::Int
end

"The events of one run. Of the conditions it keeps one number each."
mutable struct Watch
    const model::WatchedModel
    const plan::Plan
    const values::RHS{Body}
    const rates::Product{VBody}
    const residual::RHS{Body}
    const residual_jac::RHS{Body}
    const affects::Dict{Int, RHS{Body}}
    const sign::Vec  # at the start of a step
    const fresh::Vector{Bool}  # about zero there: the sign is that of the derivative
    const happens::Vector{Bool}
    const value::Vec
    const scale::Vec  # largest value in the step
    const trial::Vec
    const root::Vec  # time of its change of sign; Inf for none
    const state::Vec
    const slope::Vec
    const corrected::Vec
    const happenings::Vector{Happening}
    next_due::Int
    corrected_it::Bool  # whether the step's end was
    ended_by::String  # what of the events ended the run: "Zeno", "affect", "projection"; or nothing
end

function Watch(model::WatchedModel, plan::Plan)
    bag, n, count = model.functions, model.n, length(model.conditions)
    rhs(which) = has(bag, which) ? kernel(RHS, Body, bag, which, false) : RHS(Body(no_function), Vec())
    rates = has(bag, :rates) ? kernel(Product, VBody, bag, :rates, false) :
        Product(VBody(no_function), Vec())
    return Watch(
        model, plan, rhs(:values), rates, rhs(:residual), rhs(:residual_jac),
        Dict(i => rhs(Symbol("affect_", i)) for i in model.affects),
        zeros(count), fill(false, count), fill(false, count), zeros(count), zeros(count),
        zeros(count), zeros(count), zeros(n), zeros(n), zeros(n), Happening[], 1, false, "",
    )
end

no_function(arguments...) = nothing

# The three functions that the integrator calls.
struct Look
    watch::Watch
end
struct Happen
    watch::Watch
end
struct Refuses
    watch::Watch
end

watch_of(model::WatchedModel, plan::Plan) = Watch(model, plan)

function watching(watch::Watch)
    callback = SciMLBase.DiscreteCallback(
        Look(watch), Happen(watch); initialize = begin_watching, save_positions = (false, false)
    )
    return (; callback, isoutofdomain = Refuses(watch))
end

function begin_watching(callback, u, t, integrator)
    w = callback.affect!.watch
    SciMLBase.derivative_discontinuity!(integrator, false)
    is_due(w, integrator) && happen!(w, integrator)
    w.values(w.value, integrator.u, integrator.p, t)
    w.sign .= sign.(w.value)
    w.fresh .= w.value .== 0.0
    return nothing
end

(look::Look)(u, t, integrator) = look!(look.watch, integrator)
(happen::Happen)(integrator) = happen!(happen.watch, integrator)

"After a step: whether the state is to change. May correct it and cut the step."
function look!(w::Watch, integrator)
    w.corrected_it = correct!(w, integrator)
    happens = !isempty(w.model.conditions) && watch!(w, integrator)
    isempty(w.ended_by) || return false
    return w.corrected_it | happens | is_due(w, integrator)
end

is_due(w::Watch, integrator) = w.next_due <= length(w.model.due_times) &&
    integrator.tdir * w.model.due_times[w.next_due] <= integrator.tdir * integrator.t

# -- corrections ---------------------------------------------------------------------------------

"`isoutofdomain(u, p, t)`: whether a new state cannot be corrected, so that the step is refused."
(refuses::Refuses)(u, p, t) = !corrects!(refuses.watch, u, p, t)

has_corrections(w::Watch) = !isempty(w.model.positive) || w.model.residuals > 0

"`w.corrected` becomes the state that is positive and on the manifold, if there is one near u."
function corrects!(w::Watch, u::Vec, p::Vec, t::Float64)
    has_corrections(w) || return true
    copyto!(w.corrected, u)
    abstol = w.plan.abstol
    for i in w.model.positive
        u[i] < -(abstol isa Vec ? abstol[i] : abstol) && return false
        w.corrected[i] = max(u[i], 0.0)
    end
    return w.model.residuals == 0 || project!(w, w.corrected, p, t)
end

const PROJECTIONS = 10  # most Newton steps

"""
Move u to the nearest zero of the residuals (Hairer, Lubich, Wanner, "Geometric numerical
integration", IV.4), by Newton's method.
"""
function project!(w::Watch, u::Vec, p::Vec, t::Float64)
    m, n = w.model.residuals, w.model.n
    g, rows = zeros(m), zeros(m * n)
    for _ in 1:PROJECTIONS
        w.residual(g, u, p, t)
        w.residual_jac(rows, u, p, t)
        transposed = reshape(rows, n, m)
        factors = cholesky!(Symmetric(transposed' * transposed); check = false)
        issuccess(factors) || return false
        move = transposed * (factors \ g)
        u .-= move
        # the error is now the square of what was moved
        sum(abs2, move) <= 1e-16 * sum(abs2, u) && return true
    end
    return false
end

"The state at the end of an accepted step becomes the corrected one; whether it was another."
function correct!(w::Watch, integrator)
    has_corrections(w) || return false
    if !integrator.opts.adaptive && !corrects!(w, integrator.u, integrator.p, integrator.t)
        return finish!(w, integrator, "projection", SciMLBase.ReturnCode.ConvergenceFailure)
    end
    w.corrected == integrator.u && return false
    copyto!(integrator.u, w.corrected)
    return true
end

# -- conditions ----------------------------------------------------------------------------------

"A value that had this sign has become zero or changed it; a NaN has not."
crossed(sign, value) = sign != 0.0 && sign * value <= 0.0

"The conditions at a time of the step."
function look_at!(w::Watch, out::Vec, integrator, t)
    u = integrator.u
    if t != integrator.t
        u = w.state
        integrator(u, t)
    end
    w.values(out, u, integrator.p, t)
    return nothing
end

function look_at!(w::Watch, integrator, t, k)
    look_at!(w, w.trial, integrator, t)
    return w.trial[k]
end

"The signs of fresh conditions just after the start of the step."
function signs_of_rates!(w::Watch, integrator)
    any(w.fresh) || return nothing
    integrator(w.slope, integrator.tprev, Val{1})
    w.rates(w.trial, w.slope, integrator.uprev, integrator.p, integrator.tprev)
    for k in eachindex(w.fresh)
        w.fresh[k] && (w.sign[k] = sign(w.trial[k] * integrator.tdir))
    end
    return nothing
end

"""
The last time before condition k changes the sign that it has at a, or that it has there as soon as
it is not about zero; b is behind that. The start of the step if there is no time in between.
"""
function locate(w::Watch, integrator, k, a, b)
    start, halves = a, 0
    while crossed(w.sign[k], look_at!(w, integrator, a, k))  # fresh: look closer to the start
        a == start || (b = a)
        a = start + 0.5 * (b - start)
        halves += 1
        halves > 60 && return start
    end
    change = IntervalNonlinearProblem{false}((t, _) -> look_at!(w, integrator, t, k), (a, b))
    found = CommonSolve.solve(change, ModAB(); abstol = 0.0, reltol = 0.0)
    near, far = tdir_ordered(integrator, found.left, found.right)
    return iszero(look_at!(w, integrator, far, k)) ? far : near
end

tdir_ordered(integrator, a, b) = integrator.tdir > 0 ? minmax(a, b) : reverse(minmax(a, b))

"The time of the step's first change of sign, or `nothing`. What happens there is noted."
function first_event!(w::Watch, integrator)
    t0, t1, tdir = integrator.tprev, integrator.t, integrator.tdir
    signs_of_rates!(w, integrator)
    fill!(w.scale, 0.0)
    fill!(w.root, Inf)
    left = t0
    for j in 1:w.model.points
        right = j == w.model.points ? t1 : t0 + (t1 - t0) * (j / w.model.points)
        look_at!(w, w.value, integrator, right)
        for k in eachindex(w.value)
            w.scale[k] = max(w.scale[k], abs(w.value[k]))
            w.model.directions[k] in (0.0, -w.sign[k]) && crossed(w.sign[k], w.value[k]) &&
                (w.root[k] = tdir * locate(w, integrator, k, left, right))
        end
        any(isfinite, w.root) && break
        w.sign .= sign.(w.value)
        left = right
    end
    first = minimum(w.root)
    isfinite(first) || return nothing
    # nearer to each other than rounding errors is the same time
    w.happens .= w.root .<= first + 2.0 * eps() * max(abs(t0), abs(t1), abs(t1 - t0))
    return tdir * first
end

"Look for events in the step, and cut it there. Whether there are any."
function watch!(w::Watch, integrator)
    SciMLBase.addsteps!(integrator)
    t = first_event!(w, integrator)
    if t !== nothing
        length = abs(t - integrator.tprev)
        if any(w.happens .& w.fresh) && length < max(4.0 * eps() * abs(t), 1e-300)
            return finish!(w, integrator, "Zeno", SciMLBase.ReturnCode.DtLessThanMin)
        end
        SciMLBase.change_t_via_interpolation!(integrator, t)
        w.values(w.value, integrator.u, integrator.p, t)
    end
    fill!(w.fresh, false)
    for k in eachindex(w.value)
        w.happens[k] |= w.model.directions[k] == DISCRETE && w.value[k] != 0.0
    end
    return any(w.happens)
end

"End the run here: at the start of this step, which goes for nothing."
function finish!(w::Watch, integrator, why::String, code)
    w.ended_by = why
    copyto!(integrator.u, integrator.uprev)
    integrator.t = integrator.tprev
    SciMLBase.terminate!(integrator, code)
    return false
end

# -- what happens --------------------------------------------------------------------------------

"The events that happen at the time reached, in the order given."
function due!(w::Watch, integrator)
    due = w.model.conditions[w.happens]
    while is_due(w, integrator)
        push!(due, w.model.due_events[w.next_due])
        w.next_due += 1
    end
    return sort!(due)
end

function happen!(w::Watch, integrator)
    due = due!(w, integrator)
    isempty(due) && return nothing  # the state was corrected, no more
    t, states = integrator.t, [copy(integrator.u)]
    for i in due
        after = copy(last(states))
        haskey(w.affects, i) && w.affects[i](after, last(states), integrator.p, t)
        push!(states, after)
    end
    changed = any(in(w.model.affects), due)
    if !all(isfinite, last(states))
        w.ended_by = "affect"
        SciMLBase.terminate!(integrator, SciMLBase.ReturnCode.Unstable)
        changed = false
    end
    changed && copyto!(integrator.u, last(states))
    rows = save_after!(w, integrator, changed)
    push!(w.happenings, Happening(t, due, states, rows...))
    SciMLBase.derivative_discontinuity!(integrator, changed || w.corrected_it)
    if isempty(w.ended_by) && any(in(w.model.terminal), due)
        SciMLBase.terminate!(integrator)
        isempty(w.plan.saveat) || last_saved(integrator) == t ||
            SciMLBase.savevalues!(integrator, true)
    end
    watch_on!(w, integrator)
    return nothing
end

last_saved(integrator) = integrator.saveiter == 0 ? NaN : integrator.sol.t[integrator.saveiter]

"The state after the events belongs to the output. The rows of those before and after."
function save_after!(w::Watch, integrator, changed::Bool)
    row = integrator.saveiter - 1
    if integrator.opts.save_everystep
        shown = !isempty(w.happenings) && last(w.happenings).row_after == row
        changed && SciMLBase.savevalues!(integrator, true)
        return (shown ? -1 : row, changed ? integrator.saveiter - 1 : -1)
    end
    if changed && last_saved(integrator) == integrator.t
        kept = w.plan.save_idxs
        copyto!(integrator.sol.u[row + 1], kept === nothing ? integrator.u : integrator.u[kept])
    end
    return (-1, -1)
end

# After an event, a condition smaller than this part of its largest value in the step is about zero.
const ABOUT_ZERO = 100.0 * eps()

"The signs of the conditions after an event."
function watch_on!(w::Watch, integrator)
    w.values(w.trial, integrator.u, integrator.p, integrator.t)
    for k in eachindex(w.trial)
        small = max(2.0 * abs(w.value[k]), ABOUT_ZERO * w.scale[k])
        w.fresh[k] = abs(w.trial[k]) <= (w.happens[k] ? small : 0.0)
        w.sign[k] = sign(w.trial[k])
    end
    copyto!(w.value, w.trial)
    fill!(w.happens, false)
    return nothing
end

"""
    happened(outcome) -> (numbers, events, times, before, after, rows)

All that happened, a column for each event: the number of the happening that it belongs to, which
event it is, when, the states before and after it, and the happening's rows in the output.
"""
function happened(outcome::Outcome)
    found = [
        (k, h.events[i], h.t, h.states[i], h.states[i + 1], [h.row_before, h.row_after])
            for (k, h) in enumerate(outcome.watch.happenings) for i in eachindex(h.events)
    ]
    matrix(columns) = isempty(columns) ? zeros(0, 0) : reduce(hcat, columns)
    return (
        Int[f[1] for f in found], Int[f[2] for f in found], Float64[f[3] for f in found],
        matrix([f[4] for f in found]), matrix([f[5] for f in found]), matrix([f[6] for f in found]),
    )
end

ended_by(outcome::Outcome) = outcome.watch.ended_by
