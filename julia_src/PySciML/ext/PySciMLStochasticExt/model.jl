# Drift and noise, and what StochasticDiffEq is given of them.

"""
    StochasticModel(functions, form, processes, save_noise)

`functions` has those of the drift, and "g". `form` says what g writes: "diagonal" a vector, each
entry for a Wiener process of its own; "scalar" a vector, for one process; "matrix" a matrix, row by
row, with a column for each process.
"""
struct StochasticModel <: AbstractModel
    n::Int
    functions::Model
    form::Symbol
    processes::Int
    save_noise::Bool
    cache::Dict{Tuple{Symbol, Bool}, Any}
end

StochasticModel(functions::Model, form, processes, save_noise) =
    StochasticModel(functions.n, functions, Symbol(form), processes, save_noise, Dict())

"A model with the random numbers of one solve."
struct SeededModel <: AbstractModel
    n::Int
    model::StochasticModel
    rng::Xoshiro
end

PySciML.seeded(model::StochasticModel, seed::Int, trajectory::Int) =
    SeededModel(model.n, model, PySciML.generator(seed, trajectory))

function PySciML.function_of(seeded::SeededModel, kind::Symbol, full::Bool)
    model = seeded.model
    return get!(model.cache, (kind, full)) do
        Base.invokelatest(build_function, model, kind, full)
    end
end

function build_function(model::StochasticModel, kind::Symbol, full::Bool)
    f, options = PySciML.right_hand_side(model.functions, kind, full)
    return SDEFunction{true, FullSpecialize}(f, noise_function(model, full); options...)
end

function noise_function(model::StochasticModel, full::Bool)
    model.form === :matrix || return PySciML.kernel(RHS, Body, model.functions, :g, full)
    g, work = model.functions.functions[:g]
    return DenseJac(PySciML.wrap(Body, g, full), copy(work), zeros(model.n * model.processes))
end

function PySciML.problem_of(
        f::SDEFunction, seeded::SeededModel, u0::Vec, p::Vec, t0::Float64, t1::Float64
    )
    (; form, processes, save_noise) = seeded.model
    form === :diagonal && return SDEProblem(f, u0, (t0, t1), p)
    if form === :matrix
        return SDEProblem(f, u0, (t0, t1), p; noise_rate_prototype = zeros(length(u0), processes))
    end
    # the second process is one that methods of high order need
    noise = WienerProcess(t0, 0.0, 0.0; save_everystep = save_noise, seeded.rng)
    return SDEProblem(f, u0, (t0, t1), p; noise)
end

PySciML.own_options(::SDEFunction, seeded::SeededModel) =
    (; seeded.model.save_noise, seeded.rng)

# the noise of the first step is drawn, and what is between its ends does not matter
PySciML.cut_first_step!(::SDEIntegrator) = nothing

"""
    wiener!(outcome, out)

The Wiener processes at the saved times, row by row, to address `out`.
"""
function wiener!(outcome::Outcome, out::Int)
    solution = outcome.solution
    Base.invokelatest(copy_processes!, solution.t, solution.W.t, solution.W.u, Ptr{Float64}(out))
    return nothing
end

function copy_processes!(times::Vec, steps::Vec, states::Vector, out::Ptr{Float64})
    m = length(first(states))
    for (k, t) in enumerate(times)
        state = states[nearest(steps, t)]
        for j in 1:m
            unsafe_store!(out, state[j], (k - 1) * m + j)
        end
    end
    return nothing
end

"Which of the steps ended at `t`: both sides add up their steps by themselves, and round."
function nearest(steps::Vec, t::Float64)
    after = min(searchsortedfirst(steps, t), length(steps))
    return after > 1 && t - steps[after - 1] < abs(steps[after] - t) ? after - 1 : after
end
