"""
Stochastic differential equations by StochasticDiffEq.

As for ODEs, all models have the same types, so that what is compiled for one serves the others. See
`pysciml.engines.julia.stochastic` for the other side.
"""
module PySciMLStochasticExt

using CommonSolve: CommonSolve
using DiffEqNoiseProcess: WienerProcess, accept_step!, calculate_step!
using OrdinaryDiffEqCore: perform_step!, update_uprev!
using PrecompileTools: PrecompileTools
using PySciML: PySciML, AbstractModel, Body, DenseJac, Model, Outcome, Plan, RHS, Vec
using Random: Xoshiro
using SciMLBase: SciMLBase, FullSpecialize, ReturnCode, SDEFunction, SDEProblem
using StochasticDiffEqCore: SDEIntegrator, StochasticCompositeAlgorithm

include("methods.jl")
include("model.jl")
include("strides.jl")
include("precompile.jl")

end
