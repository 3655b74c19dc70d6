"""
Stochastic differential equations by StochasticDiffEq.

As for ODEs, all models have the same types, so that what is compiled for one serves the others. See
`pysciml.engines.julia.stochastic` for the other side.
"""
module PySciMLStochasticExt

using DiffEqNoiseProcess: WienerProcess
using PrecompileTools: PrecompileTools
using PySciML: PySciML, AbstractModel, Body, DenseJac, Model, Outcome, RHS, Vec
using Random: Xoshiro
using SciMLBase: FullSpecialize, SDEFunction, SDEProblem
using StochasticDiffEqCore: SDEIntegrator, StochasticCompositeAlgorithm

include("methods.jl")
include("model.jl")
include("precompile.jl")

end
