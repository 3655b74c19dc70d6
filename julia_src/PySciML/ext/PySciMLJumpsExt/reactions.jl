# Reactions: their propensities and what they change.

"""
    ReactionModel(all, rates, numbers, reads, constants, reactants, net)

`all` has "f", the propensities of all reactions. Those whose rate is a function are `numbers` (from
0), each with its propensity, "f" of one of `rates`, and the species that it reads. The others are
of mass action, in order: `constants` has the rate constant of each, or minus the place of the
parameter that is its constant (from 1), and `reactants` its reactants as (species, how many), flat.
`net` has a row for each reaction, by how much it changes each species.
"""
struct ReactionModel <: AbstractModel
    n::Int
    all::Model
    rates::Vector{Model}
    numbers::Vector{Int}  # from 1
    reads::Vector{Vector{Int}}
    mass_action::Vector{Int}  # numbers of the others
    constants::Vec
    reactants::Vector{Vector{Pair{Int, Int}}}
    net::Matrix{Float64}
    cache::Dict{Tuple{Symbol, Bool}, Any}
end

function ReactionModel(all::Model, rates, numbers, reads, constants, reactants, net)
    functions = Vector{Int}(numbers) .+ 1
    others = setdiff(1:size(net, 1), functions)
    return ReactionModel(
        size(net, 2), all, Vector{Model}(rates), functions,
        [Vector{Int}(species) .+ 1 for species in reads], others, Vec(constants),
        [pairs_of(sides) for sides in reactants], Matrix{Float64}(net), Dict()
    )
end

function pairs_of(sides)
    flat = Vector{Int}(sides)
    return [flat[i] + 1 => flat[i + 1] for i in 1:2:length(flat)]
end

"A model with the random numbers of one solve."
struct SeededReactions <: AbstractModel
    n::Int
    model::ReactionModel
    rng::Xoshiro
end

PySciML.seeded(model::ReactionModel, seed::Int, trajectory::Int) =
    SeededReactions(model.n, model, PySciML.generator(seed, trajectory))

"A propensity is no rate."
struct BadPropensity <: Exception
    reaction::Int
    value::Float64
end

checked(value::Float64, reaction::Int) =
    0.0 <= value < Inf ? value : throw(BadPropensity(reaction, value))

"`rate(u, p, t)` of one reaction."
struct Propensity{B}
    body::B
    work::Vec
    out::Vec
    reaction::Int
end

function (k::Propensity)(u::Vec, p::Vec, t::Float64)
    k.body(k.out, u, p, t, k.work)
    return checked(k.out[1], k.reaction)
end

Base.copy(k::Propensity) = Propensity(k.body, copy(k.work), copy(k.out), k.reaction)
Base.deepcopy_internal(k::Propensity, ::IdDict) = copy(k)

"`affect!(integrator)` of one reaction."
struct Change
    net::Vector{Pair{Int, Float64}}
end

function (k::Change)(integrator)
    for (species, by) in k.net
        integrator.u[species] += by
    end
    return nothing
end

changes(model::ReactionModel, reaction::Int) =
    [i => model.net[reaction, i] for i in 1:model.n if model.net[reaction, i] != 0.0]

"The reactions as JumpProcesses knows them, and which of them read what which of them change."
struct Reactions{J <: Tuple}
    jumps::J
    changed::Vector{Vector{Int}}  # species, by reaction: mass action, then functions
    readers::Vector{Vector{Int}}  # reactions, by species
    dependent::Vector{Vector{Int}}  # reactions whose propensity a reaction changes
    poll::Poll
end

PySciML.poll_of(reactions::Reactions) = reactions.poll

function build_reactions(model::ReactionModel, full::Bool)
    jumps = map(zip(model.rates, model.numbers)) do (rate, reaction)
        f, work = rate.functions[:f]
        propensity = Propensity(PySciML.wrap(Body, f, full), copy(work), zeros(1), reaction)
        ConstantRateJump(propensity, Change(changes(model, reaction)))
    end
    order = [model.mass_action; model.numbers]
    changed = [first.(changes(model, reaction)) for reaction in order]
    reads = [[first.(side) for side in model.reactants]; model.reads]
    readers = [findall(species -> i in species, reads) for i in 1:model.n]
    dependent = [sort!(union(Int[], (readers[i] for i in species)...)) for species in changed]
    return Reactions(Tuple(jumps), changed, readers, dependent, Poll())
end

function PySciML.function_of(seeded::SeededReactions, kind::Symbol, full::Bool)
    model = seeded.model
    build = kind === :exact ? build_reactions : build_leaps
    return get!(() -> Base.invokelatest(build, model, full), model.cache, (kind, full))
end

function mass_action(model::ReactionModel, p::Vec)
    isempty(model.mass_action) && return nothing
    constants = [c < 0.0 ? p[-Int(c)] : c for c in model.constants]
    foreach(checked, constants, model.mass_action)
    net = [changes(model, reaction) for reaction in model.mass_action]
    return MassActionJump(constants, model.reactants, net; scale_rates = true)
end
