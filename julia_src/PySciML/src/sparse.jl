# Jacobians of large sparse models: a few Jacobian-vector products instead of n*n entries.

"""
    colour_columns(pattern) -> Vector{Int}

Greedy distance-2 colouring of the columns, in order of falling degree: two columns of one colour
share no row, so one product with their sum gives both (Curtis, Powell & Reid 1974).
"""
function colour_columns(pattern::SparseMatrixCSC)
    n = size(pattern, 2)
    by_row = sparse(transpose(pattern))  # columns of each row
    colours = zeros(Int, n)
    taken = zeros(Int, n + 1)  # taken[c] == j: colour c is not free for column j
    for j in sort(1:n; by = j -> -length(nzrange(pattern, j)))
        for i in view(rowvals(pattern), nzrange(pattern, j)), k in nzrange(by_row, i)
            colour = colours[rowvals(by_row)[k]]
            colour > 0 && (taken[colour] = j)
        end
        colours[j] = findfirst(!=(j), taken)
    end
    return colours
end

"""
    SparseJac(product, prototype)

`jac(J, u, p, t)` for a `J` with the pattern of `prototype`, column by column from coloured
products.
"""
struct SparseJac{B}
    product::Product{B}
    colours::Vector{Int}
    columns::Vector{Vector{Int}}  # columns of each colour
    seed::Vec
    image::Vec
end

function SparseJac(product::Product, prototype::SparseMatrixCSC)
    colours = colour_columns(prototype)
    columns = [findall(==(c), colours) for c in 1:maximum(colours; init = 0)]
    n = size(prototype, 2)
    return SparseJac(product, colours, columns, zeros(n), zeros(n))
end

function Base.copy(k::SparseJac)
    return SparseJac(copy(k.product), k.colours, k.columns, copy(k.seed), copy(k.image))
end
Base.deepcopy_internal(k::SparseJac, ::IdDict) = copy(k)

function (k::SparseJac)(J::SparseMatrixCSC{Float64}, u::AbstractArray, p, t)
    each_image(k, u, p, t) do columns, image
        values, rows = nonzeros(J), rowvals(J)
        for j in columns, at in nzrange(J, j)
            values[at] = image[rows[at]]
        end
    end
    return nothing
end

function (k::SparseJac)(J::AbstractMatrix, u::AbstractArray, p, t)
    n = size(J, 2)
    fill!(J, 0)
    # without its pattern, J is filled a column at a time
    for j in 1:n
        k.seed[j] = 1.0
        k.product(k.image, k.seed, plain(u), plain(p), Float64(t))
        k.seed[j] = 0.0
        copyto!(view(J, :, j), k.image)
    end
    return nothing
end

function each_image(use, k::SparseJac, u, p, t)
    state, parameters = plain(u), plain(p)
    for columns in k.columns
        for j in columns
            k.seed[j] = 1.0
        end
        k.product(k.image, k.seed, state, parameters, Float64(t))
        for j in columns
            k.seed[j] = 0.0
        end
        use(columns, k.image)
    end
    return nothing
end
