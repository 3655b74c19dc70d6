"""
The Julia side of the Python package pysciml.

A model arrives as generated source text. Every model is wrapped into the *same* concrete types
(`RHS`, `DenseJac`, ...), so the solvers that this package precompiles serve all models: a new one
costs the compilation of its own functions and nothing else.

Python calls `Model`, `compile_*!`, `plan`, `solve`, `fetch!` and `interpolate!`; see the engine
`pysciml.engines.julia` for the other side of each.
"""
module PySciML

using ADTypes: AutoFiniteDiff
using BracketingNonlinearSolve: ModAB
using CommonSolve: CommonSolve
using DiffEqBase: DEVerbosity
using FunctionWrappers: FunctionWrapper
using LinearAlgebra:
    I, Diagonal, LAPACKException, PosDefException, SingularException, Symmetric, ZeroPivotException,
    cholesky!, isdiag, issuccess
using LinearSolve: LinearSolve
using OrdinaryDiffEqBDF: OrdinaryDiffEqBDF, FBDF
using OrdinaryDiffEqCore: OrdinaryDiffEqCore, CompositeAlgorithm, DAEAlgorithm, ODEIntegrator,
    modify_dt_for_tstops!
using OrdinaryDiffEqDefault: OrdinaryDiffEqDefault, DefaultODEAlgorithm
using OrdinaryDiffEqRosenbrock: OrdinaryDiffEqRosenbrock, Rodas5P, Rosenbrock23
using OrdinaryDiffEqTsit5: OrdinaryDiffEqTsit5, Tsit5
using OrdinaryDiffEqVerner: OrdinaryDiffEqVerner, Vern7
using PrecompileTools: PrecompileTools
using Random: Random
using SciMLBase: SciMLBase, DAEFunction, DAEProblem, DynamicalODEFunction, DynamicalODEProblem,
    FullSpecialize, IntervalNonlinearProblem, ODEFunction, ODEProblem, ReturnCode, SplitFunction,
    SplitODEProblem
using SciMLLogging: SciMLLogging
using SciMLOperators: MatrixOperator
using SparseArrays: SparseArrays, SparseMatrixCSC, nzrange, rowvals, nonzeros, sparse
using TOML: TOML

include("extensions.jl")
include("interrupt.jl")
include("elementary.jl")
include("activations.jl")
include("products.jl")
include("kernels.jl")
include("sparse.jl")
include("model.jl")
include("algorithms.jl")
include("solving.jl")
include("ensemble.jl")
include("implicit.jl")
include("two_parts.jl")
include("events.jl")
include("tape.jl")
include("discrete_adjoint.jl")
include("precompile.jl")

end
