"""
Gradients of a solve by SciMLSensitivity's adjoint methods.

The model's own `vjp` and `vjp_p` (see `ODEFunction`) are all that these methods differentiate
with, so no automatic differentiation of Julia's runs.
"""
module PySciMLSensitivityExt

using ADTypes: AutoFiniteDiff
using DiffEqBase: BrownFullBasicInit
using LinearAlgebra: mul!
using OrdinaryDiffEqRosenbrock: Rodas5P
using OrdinaryDiffEqTsit5: Tsit5
using PrecompileTools: PrecompileTools
using PySciML: PySciML, BackwardFailure, Body, Continuous, Model, QUIET, Recipe, RHS, Trajectory,
    VBody, Vec, plain
using SciMLBase: SciMLBase, FullSpecialize, ODEFunction, ODEProblem, ReturnCode
using SciMLSensitivity: BacksolveAdjoint, GaussAdjoint, GaussKronrodAdjoint, InterpolatingAdjoint,
    QuadratureAdjoint, ZygoteVJP, adjoint_sensitivities

include("functions.jl")
include("continuous.jl")
include("precompile.jl")

end
