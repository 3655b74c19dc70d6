"""
Gradients of a solve by SciMLSensitivity's adjoint methods.

The model's own `vjp` and `vjp_p` (see `ODEFunction`) are all that these methods differentiate
with, so no automatic differentiation of Julia's runs. Python calls `recipe`, `solve`, `fetch!`
and `pull!`; see `pysciml.engines.julia.adjoint` for the other side.
"""
module PySciMLSensitivityExt

using ADTypes: AutoFiniteDiff
using DiffEqBase: BrownFullBasicInit
using LinearAlgebra: mul!
using OrdinaryDiffEqCore: CompositeAlgorithm
using OrdinaryDiffEqRosenbrock: Rodas5P
using OrdinaryDiffEqTsit5: Tsit5
using PrecompileTools: PrecompileTools
using PySciML: PySciML, Body, FAILED, Model, Plan, QUIET, RHS, VBody, Vec, note, plain
using SciMLBase: SciMLBase, FullSpecialize, ODEFunction, ODEProblem, ReturnCode
using SciMLSensitivity: BacksolveAdjoint, GaussAdjoint, GaussKronrodAdjoint, InterpolatingAdjoint,
    QuadratureAdjoint, ZygoteVJP, adjoint_sensitivities

include("functions.jl")
include("forward.jl")
include("backward.jl")
include("precompile.jl")

end
