"""
Ensembles on the processes of Distributed, which may run on other machines.

A model crosses as the source text of its functions, which each process compiles once.
"""
module PySciMLDistributedExt

using Distributed:
    Distributed, ProcessExitedException, RemoteException, nprocs, nworkers, remote_do,
    remotecall_fetch, workers
using Serialization: Serialization, AbstractSerializer, deserialize, serialize
using PySciML: PySciML, Batch, Model, Plan
using SciMLBase: ReturnCode

const PARTS = 4  # of a batch for each process: none waits long for another one

function Serialization.serialize(s::AbstractSerializer, model::Model)
    Serialization.serialize_type(s, Model)
    functions = [
        (String(which), PySciML.source(f), String(nameof(f)), work)
            for (which, (f, work)) in model.functions
    ]
    serialize(s, (model.n, model.mass, functions, model.pattern))
    return nothing
end

function Serialization.deserialize(s::AbstractSerializer, ::Type{Model})
    n, mass, functions, pattern = deserialize(s)
    model = Model(n, mass)
    foreach(f -> PySciML.compile!(model, f...), functions)
    model.pattern = pattern
    return model
end

function PySciML.addprocs(processes)
    flags = ["--project=$(Base.active_project())", "--threads=1"]
    which = processes isa Integer ? processes : [String(machine) for machine in processes]
    return length(Distributed.addprocs(which; exeflags = flags))
end

PySciML.processes() = nprocs() - 1

function PySciML.solve_distributed!(
        batch::Batch, plan::Plan, t0::Float64, t1::Float64, stop::Ptr{Int}, full::Bool
    )
    count = length(batch.codes)
    parts = collect(Iterators.partition(1:count, cld(count, PARTS * nworkers())))
    # a part whose process is lost comes back, for those that are left
    while !isempty(parts) && unsafe_load(stop) == 0 && nprocs() > 1
        serving = [@async serve!(batch, parts, id, plan, t0, t1, stop, full) for id in workers()]
        PySciML.await(serving, stop) do
            foreach(id -> remote_do(ask_to_stop, id), workers())
        end
        foreach(PySciML.result, serving)
    end
    code = unsafe_load(stop) == 0 ? PySciML.retcode_index(ReturnCode.Failure) : PySciML.INTERRUPTED
    for part in parts
        batch.u[:, :, part] .= NaN
        batch.codes[part] .= code
    end
    return nothing
end

"Load PySciML in a process, and the solver libraries that are loaded here."
function prepare(id::Int)
    libraries = [id for (id, m) in Base.loaded_modules if startswith(id.name, "OrdinaryDiffEq")]
    folder, uuid = pkgdir(PySciML), string(Base.PkgId(PySciML).uuid)
    remotecall_fetch(
        Core.eval, id, Main, quote
            $folder in LOAD_PATH || push!(LOAD_PATH, $folder)
            Base.require(Base.PkgId(Base.UUID($uuid), "PySciML")).extension("PySciMLDistributedExt")
            foreach(Base.require, $libraries)
            nothing
        end
    )
    return nothing
end

"Let one process solve parts until none is left, or the process is lost."
function serve!(batch::Batch, parts, id::Int, plan::Plan, t0, t1, stop::Ptr{Int}, full::Bool)
    prepared = false
    while !isempty(parts) && unsafe_load(stop) == 0
        part = popfirst!(parts)
        u0, p = (size(rows, 2) == 1 ? rows : rows[:, part] for rows in (batch.u0, batch.p))
        try
            prepared || prepare(id)
            prepared = true
            found = remotecall_fetch(solve_part, id, plan, u0, p, length(part), t0, t1, full)
            batch.u[:, :, part] = found.u
            batch.codes[part] = found.codes
            batch.sums .+= found.sums
        catch error
            error isa RemoteException && throw(error.captured.ex)
            error isa ProcessExitedException || rethrow()
            push!(parts, part)
            return nothing
        end
    end
    return nothing
end

# In the processes.

const STOP = Ref(false)

ask_to_stop() = (STOP[] = true; nothing)

"What a solve asks there in the place of Python: messages are read meanwhile."
asked_to_stop() = (yield(); Cint(STOP[]))
heard() = nothing

function solve_part(plan::Plan, u0, p, count::Int, t0::Float64, t1::Float64, full::Bool)
    STOP[] = false
    PySciML.set_interrupt_check(
        UInt(@cfunction(asked_to_stop, Cint, ())), UInt(@cfunction(heard, Cvoid, ()))
    )
    u = Array{Float64}(undef, PySciML.width(plan), length(plan.saveat), count)
    batch, stop = Batch(-1, 0, u0, p, u, zeros(Int, count), zeros(Int, 6)), [0]
    GC.@preserve stop PySciML.solve_batch!(batch, plan, t0, t1, pointer(stop), 1, full)
    return batch
end

end
