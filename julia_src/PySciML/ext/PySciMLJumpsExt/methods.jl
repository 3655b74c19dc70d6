# Methods by name, and how each of them goes.

"An aggregator of JumpProcesses, or its way to leap."
jump_algorithm(name) = getfield(JumpProcesses, Symbol(name))()

# What a method needs of the model, which is also how it goes.
PySciML.kind_of(::AbstractAggregatorAlgorithm, ::Int) = :exact
PySciML.kind_of(::SimpleTauLeaping, ::Int) = :leaps
