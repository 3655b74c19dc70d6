# Matrix products of moderate size, for generated code. BLAS earns the price of its call (and of its
# threads) on large matrices only; here the sizes are literals, which the compiler knows once it has
# inlined the loops. The same loops as in pysciml/codegen/products.py.
module Products

export by_rows!, general!

const ROWS_TOGETHER = 16384  # numbers of the result that stay in a near cache

@inline function dot_at(a, ia, b, ib, k)
    sum = 0.0
    @inbounds @simd for l in 0:(k - 1)
        sum = muladd(a[ia + l], b[ib + l], sum)
    end
    return sum
end

"c = a bᵀ for row-major a (m, k), b (n, k) and c (m, n), each from the element `i_` of its array on"
@inline function by_rows!(c, ic, a, ia, b, ib, m, k, n)
    @inbounds for i in 0:(m - 1), j in 0:(n - 1)
        c[ic + i * n + j] = dot_at(a, ia + i * k, b, ib + j * k, k)
    end
    return nothing
end

"""
c = a b for row-major b (k, n) and c (m, n); a (m, k) has its entries `row` and `column` apart.
Four terms at a time are added to the whole of c, or to what of it stays in the cache.
"""
@inline function general!(c, ic, a, ia, row, column, b, ib, m, k, n)
    @inbounds begin
        @simd ivdep for x in 0:(m * n - 1)
            c[ic + x] = 0.0
        end
        together = max(1, ROWS_TOGETHER ÷ n)
        whole = k - k % 4
        for first in 0:together:(m - 1)
            last = min(m, first + together) - 1
            for l in 0:4:(whole - 1)
                b0 = ib + l * n
                b1, b2, b3 = b0 + n, b0 + 2n, b0 + 3n
                for i in first:last
                    at = ia + i * row + l * column
                    x0, x1, x2, x3 = a[at], a[at + column], a[at + 2column], a[at + 3column]
                    ci = ic + i * n
                    @simd ivdep for j in 0:(n - 1)
                        low = muladd(x1, b[b1 + j], muladd(x0, b[b0 + j], c[ci + j]))
                        c[ci + j] = muladd(x3, b[b3 + j], muladd(x2, b[b2 + j], low))
                    end
                end
            end
            for l in whole:(k - 1), i in first:last
                x0 = a[ia + i * row + l * column]
                ci, b0 = ic + i * n, ib + l * n
                @simd ivdep for j in 0:(n - 1)
                    c[ci + j] = muladd(x0, b[b0 + j], c[ci + j])
                end
            end
        end
    end
    return nothing
end

end
