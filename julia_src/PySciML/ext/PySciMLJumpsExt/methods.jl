# Methods by name, and how each of them goes.

"Leaps of one length, by a method of JumpProcesses or of StochasticDiffEq."
struct FixedLeaps{A}
    alg::A
end

const LEAPING = Base.PkgId(Base.UUID("aefaaa88-39f2-4e89-b162-d61b7e8cc81b"), "StochasticDiffEqLeaping")

"An aggregator of JumpProcesses, or a way to leap."
function jump_algorithm(name)
    symbol = Symbol(name)
    if isdefined(JumpProcesses, symbol)
        alg = getfield(JumpProcesses, symbol)()
        return alg isa AbstractAggregatorAlgorithm ? alg : FixedLeaps(alg)
    end
    # its default, plain fixed-point iteration, takes long, and Newton's method would trace the
    # propensities
    nlsolve = Base.invokelatest(PySciML.nonlinear_solvers().NLAnderson; max_iter = 50)
    return FixedLeaps(Base.invokelatest(getfield(Base.require(LEAPING), symbol); nlsolve))
end

# What a method needs of the model, which is also how it goes.
PySciML.kind_of(::AbstractAggregatorAlgorithm, ::Int) = :exact
PySciML.kind_of(::FixedLeaps, ::Int) = :leaps
PySciML.title(method::FixedLeaps) = PySciML.title(method.alg)

"What StochasticDiffEq's methods want to know, which could choose their leaps."
step_options(::SimpleTauLeaping, ::Plan) = (;)
step_options(::Any, plan::Plan) = (;
    adaptive = false, plan.model.rng, plan.abstol, plan.reltol, maxiters = typemax(Int),
    verbose = PySciML.QUIET,
)
