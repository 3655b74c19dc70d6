# Methods by name.

"""
    stochastic_algorithm(model, name, options, interpretation) -> algorithm

As `PySciML.algorithm`. Methods that have both interpretations get the one that is named, "Ito" or
"Stratonovich"; `model` has the function "ggprime", (dg/du) g, for the one method that wants it.
"""
function stochastic_algorithm(model::Model, name, options, interpretation)
    symbol = Symbol(name)
    # a composite of others
    haskey(PySciML.LIBRARY_OF, symbol) || return PySciML.algorithm(name, options)
    T = PySciML.constructor(symbol)
    given = PySciML.option_values(options)
    if :interpretation in Base.invokelatest(PySciML.keywords, T)
        given[:interpretation] = PySciML.option_value(:interpretation, interpretation)
    end
    derivative = symbol === :PCEuler ? (PySciML.kernel(RHS, Body, model, :ggprime, false),) : ()
    return PySciML.construct(T, symbol, derivative, given)
end

PySciML.members(alg::StochasticCompositeAlgorithm) = alg.algs
PySciML.title(alg::StochasticCompositeAlgorithm) =
    "Auto(" * join(map(PySciML.title, alg.algs), ", ") * ")"
