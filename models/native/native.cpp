// The recurrent basecallers on CPUs with AVX-512 BF16: convolutions, LSTMs and the linear layer, for one thread.
//
// What always holds: a row of a batch is computed by the same operations in the same order whatever the other
// rows are and however many they are. Knows no files, no configs and no threads: `models/native/native.py`
// hands in packed weights and every buffer.
//
// Weights are bfloat16 pairs, [outputs / 16][inputs / 2][parts][16][2], so that one VDPBF16PS multiplies two
// inputs by the weights of 16 outputs; sums, cell states and activations are float32.
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define KERNEL_INLINE KERNEL __attribute__((always_inline)) inline

namespace {

constexpr int LANES = 16;
// Six rows times four vectors of outputs fill 24 of the 32 registers with sums.
constexpr int ROWS = 6;
constexpr float LOG2_E = 1.44269504088896341f;

enum Activation { NONE = 0, SWISH = 1, TANH = 2 };

// An activation, and the bounds that a clamp after it sets (infinite where there is none).
struct Shape {
    int activation;
    float low, high;
};

// 2^x. The Taylor polynomial of degree 5 on [-0.5, 0.5]: its relative error, under 3e-6, is a thousandth of what
// rounding to bfloat16 makes.
KERNEL_INLINE __m512 exp2_ps(__m512 x) {
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-126.0f)), _mm512_set1_ps(126.0f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 value = _mm512_set1_ps(1.33335581e-3f);
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(9.61812911e-3f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(5.55041087e-2f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(2.40226507e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(6.93147181e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(value, whole);
}

// 1 / (1 + 2^x): the logistic function of -x / log2(e).
KERNEL_INLINE __m512 logistic2_ps(__m512 x) {
    const __m512 denominator = _mm512_add_ps(exp2_ps(x), _mm512_set1_ps(1.0f));
    const __m512 rough = _mm512_rcp14_ps(denominator);
    // One Newton step: 28 bits.
    return _mm512_mul_ps(rough, _mm512_fnmadd_ps(denominator, rough, _mm512_set1_ps(2.0f)));
}

KERNEL_INLINE __m512 tanh_ps(__m512 x) {
    return _mm512_fmsub_ps(_mm512_set1_ps(2.0f), logistic2_ps(_mm512_mul_ps(x, _mm512_set1_ps(-2.0f * LOG2_E))),
                           _mm512_set1_ps(1.0f));
}

KERNEL_INLINE __m512 activate(__m512 x, const Shape& shape) {
    if (shape.activation == SWISH)
        x = _mm512_mul_ps(x, logistic2_ps(_mm512_mul_ps(x, _mm512_set1_ps(-LOG2_E))));
    else if (shape.activation == TANH)
        x = tanh_ps(x);
    return _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(shape.low)), _mm512_set1_ps(shape.high));
}

KERNEL_INLINE __m512bh pair(const uint16_t* at) {
    uint32_t both;
    std::memcpy(&both, at, sizeof both);
    return (__m512bh)_mm512_set1_epi32(static_cast<int>(both));
}

// sums[row][part] += rows' inputs times weights, over `pairs` pairs of inputs. `step` is from row to row.
template <int COUNT, int PARTS>
KERNEL_INLINE void multiply(__m512 (&sums)[COUNT][PARTS], const uint16_t* inputs, size_t step,
                            const uint16_t* weights, int pairs) {
    for (int k = 0; k < pairs; ++k) {
        __m512bh w[PARTS];
        for (int p = 0; p < PARTS; ++p) w[p] = (__m512bh)_mm512_loadu_si512(weights + (k * PARTS + p) * 2 * LANES);
        for (int r = 0; r < COUNT; ++r) {
            const __m512bh x = pair(inputs + r * step + 2 * k);
            for (int p = 0; p < PARTS; ++p) sums[r][p] = _mm512_dpbf16_ps(sums[r][p], x, w[p]);
        }
    }
}

KERNEL_INLINE void store_bf16(uint16_t* at, __m512 value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), (__m256i)_mm512_cvtneps_pbh(value));
}

// One time step of `COUNT` rows and 16 units. Gates come as i, f, g, o; i, f and o are scaled by -log2(e), g by
// -2 log2(e), in weights and biases, so that exp2 needs no multiplication.
template <int COUNT>
KERNEL_INLINE void lstm_cells(const uint16_t* x, int inputs, const uint16_t* h, int units, const uint16_t* weights,
                              const float* biases, float* cells, uint16_t* out) {
    __m512 sums[COUNT][4];
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < 4; ++p) sums[r][p] = _mm512_loadu_ps(biases + p * LANES);
    multiply<COUNT, 4>(sums, x, inputs, weights, inputs / 2);
    if (h) multiply<COUNT, 4>(sums, h, units, weights + static_cast<size_t>(inputs) * 4 * LANES, units / 2);
    const __m512 one = _mm512_set1_ps(1.0f), two = _mm512_set1_ps(2.0f);
    for (int r = 0; r < COUNT; ++r) {
        const __m512 in = logistic2_ps(sums[r][0]), forget = logistic2_ps(sums[r][1]);
        const __m512 candidate = _mm512_fmsub_ps(two, logistic2_ps(sums[r][2]), one);
        const __m512 gate = logistic2_ps(sums[r][3]);
        float* at = cells + static_cast<size_t>(r) * units;
        __m512 cell = _mm512_mul_ps(in, candidate);
        if (h) cell = _mm512_fmadd_ps(forget, _mm512_loadu_ps(at), cell);
        _mm512_storeu_ps(at, cell);
        store_bf16(out + static_cast<size_t>(r) * units, _mm512_mul_ps(gate, tanh_ps(cell)));
    }
}

template <int COUNT>
KERNEL_INLINE void linear_rows(const uint16_t* inputs, size_t step, int pairs, const uint16_t* weights,
                               const float* biases, const Shape& shape, float scale, __m512 (&sums)[COUNT][4]) {
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < 4; ++p) sums[r][p] = _mm512_loadu_ps(biases + p * LANES);
    multiply<COUNT, 4>(sums, inputs, step, weights, pairs);
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < 4; ++p)
            sums[r][p] = _mm512_mul_ps(activate(sums[r][p], shape), _mm512_set1_ps(scale));
}

// Four vectors as a 4 x 4 matrix of single numbers in each quarter, transposed.
KERNEL_INLINE void transpose_within(__m512 (&v)[4]) {
    const __m512 a = _mm512_unpacklo_ps(v[0], v[1]), b = _mm512_unpackhi_ps(v[0], v[1]);
    const __m512 c = _mm512_unpacklo_ps(v[2], v[3]), d = _mm512_unpackhi_ps(v[2], v[3]);
    v[0] = _mm512_shuffle_ps(a, c, 0x44);
    v[1] = _mm512_shuffle_ps(a, c, 0xee);
    v[2] = _mm512_shuffle_ps(b, d, 0x44);
    v[3] = _mm512_shuffle_ps(b, d, 0xee);
}

// Four vectors as a 4 x 4 matrix of quarters, transposed.
KERNEL_INLINE void transpose_quarters(__m512 (&v)[4]) {
    const __m512 a = _mm512_shuffle_f32x4(v[0], v[1], 0x44), b = _mm512_shuffle_f32x4(v[0], v[1], 0xee);
    const __m512 c = _mm512_shuffle_f32x4(v[2], v[3], 0x44), d = _mm512_shuffle_f32x4(v[2], v[3], 0xee);
    v[0] = _mm512_shuffle_f32x4(a, c, 0x88);
    v[1] = _mm512_shuffle_f32x4(a, c, 0xdd);
    v[2] = _mm512_shuffle_f32x4(b, d, 0x88);
    v[3] = _mm512_shuffle_f32x4(b, d, 0xdd);
}

// The states that a move may come from stand a quarter of all states apart. In `by_source`, those four stand side by
// side: state q + j * quarter at 4 q + j.
KERNEL_INLINE void to_by_source(const float* states, int quarter, float* by_source) {
    for (int q = 0; q < quarter; q += LANES) {
        __m512 v[4];
        for (int j = 0; j < 4; ++j) v[j] = _mm512_loadu_ps(states + j * quarter + q);
        transpose_within(v);
        transpose_quarters(v);
        for (int m = 0; m < 4; ++m) _mm512_storeu_ps(by_source + 4 * q + m * LANES, v[m]);
    }
}

KERNEL_INLINE void from_by_source(const float* by_source, int quarter, float scale, float* states) {
    for (int q = 0; q < quarter; q += LANES) {
        __m512 v[4];
        for (int m = 0; m < 4; ++m)
            v[m] = _mm512_mul_ps(_mm512_loadu_ps(by_source + 4 * q + m * LANES), _mm512_set1_ps(scale));
        transpose_quarters(v);
        transpose_within(v);
        for (int j = 0; j < 4; ++j) _mm512_storeu_ps(states + j * quarter + q, v[j]);
    }
}

KERNEL_INLINE __m512 four_times(const float* at) { return _mm512_broadcast_f32x4(_mm_loadu_ps(at)); }

KERNEL_INLINE __m512 sum_of(const __m512 (&v)[4]) {
    return _mm512_add_ps(_mm512_add_ps(v[0], v[1]), _mm512_add_ps(v[2], v[3]));
}

// Calls `body` with the rows in groups of ROWS and, at the end, of fewer.
#define IN_ROWS(total, body)                            \
    {                                                   \
        int row = 0;                                    \
        for (; row + ROWS <= (total); row += ROWS) {    \
            body(ROWS)                                  \
        }                                               \
        switch ((total) - row) {                        \
            case 5: body(5) break;                      \
            case 4: body(4) break;                      \
            case 3: body(3) break;                      \
            case 2: body(2) break;                      \
            case 1: body(1) break;                      \
            default: break;                             \
        }                                               \
    }

}  // namespace

extern "C" {

int native_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bf16");
}

// float32 [samples, inputs] -> float32 [out_samples, outputs] of one row, for the first, narrow convolutions:
// `x` begins with the zeros that pad it. weights are float32 [winlen, inputs, 16], biases [16], outputs <= 16.
// Where `bf16` is not null the result goes there instead.
KERNEL void native_convolution(const float* x, int out_samples, int inputs, int outputs, int winlen, int stride,
                               const float* weights, const float* biases, int activation, float low, float high, float* out,
                               uint16_t* bf16) {
    const Shape shape = {activation, low, high};
    const __mmask16 mask = static_cast<__mmask16>((1u << outputs) - 1u);
    const int taps = winlen * inputs;
    const __m512 bias = _mm512_loadu_ps(biases);
    int t = 0;
    // Four at once, because one sum alone waits for itself.
    for (; t + 4 <= out_samples; t += 4) {
        const float* at = x + static_cast<size_t>(t) * stride * inputs;
        const int step = stride * inputs;
        __m512 sums[4] = {bias, bias, bias, bias};
        for (int k = 0; k < taps; ++k) {
            const __m512 w = _mm512_loadu_ps(weights + k * LANES);
            for (int r = 0; r < 4; ++r) sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(at[r * step + k]), w, sums[r]);
        }
        for (int r = 0; r < 4; ++r) {
            const __m512 value = activate(sums[r], shape);
            if (bf16)
                _mm256_mask_storeu_epi16(bf16 + static_cast<size_t>(t + r) * outputs, mask,
                                         (__m256i)_mm512_cvtneps_pbh(value));
            else
                _mm512_mask_storeu_ps(out + static_cast<size_t>(t + r) * outputs, mask, value);
        }
    }
    for (; t < out_samples; ++t) {
        const float* at = x + static_cast<size_t>(t) * stride * inputs;
        __m512 sum = bias;
        for (int k = 0; k < taps; ++k)
            sum = _mm512_fmadd_ps(_mm512_set1_ps(at[k]), _mm512_loadu_ps(weights + k * LANES), sum);
        const __m512 value = activate(sum, shape);
        if (bf16)
            _mm256_mask_storeu_epi16(bf16 + static_cast<size_t>(t) * outputs, mask,
                                     (__m256i)_mm512_cvtneps_pbh(value));
        else
            _mm512_mask_storeu_ps(out + static_cast<size_t>(t) * outputs, mask, value);
    }
}

// bfloat16 rows, `step` apart, of `inputs` (even) -> bfloat16 rows, `out_step` apart: a wide convolution, whose
// windows are rows that overlap, or a linear layer. Outputs are a multiple of 16; weights are packed in groups of 64.
KERNEL void native_linear(const uint16_t* x, size_t step, int rows, int inputs, int outputs,
                               const uint16_t* weights, const float* biases, int activation, float low, float high,
                               uint16_t* out, size_t out_step) {
    const Shape shape = {activation, low, high};
    for (int o = 0; o < outputs; o += 4 * LANES) {
        const uint16_t* w = weights + static_cast<size_t>(o) * inputs;
        const int kept = (outputs - o + LANES - 1) / LANES;
#define BODY(COUNT)                                                                                             \
    {                                                                                                           \
        __m512 sums[COUNT][4];                                                                                  \
        linear_rows<COUNT>(x + row * step, step, inputs / 2, w, biases + o, shape, 1.0f, sums);      \
        for (int r = 0; r < COUNT; ++r)                                                                         \
            for (int p = 0; p < 4 && p < kept; ++p) store_bf16(out + (row + r) * out_step + o + p * LANES, sums[r][p]); \
    }
        IN_ROWS(rows, BODY)
#undef BODY
    }
}

// bfloat16 [steps, rows, inputs] -> float32 [rows, steps, outputs], times `scale`: the scores.
KERNEL void native_scores(const uint16_t* x, int steps, int rows, int inputs, int outputs, const uint16_t* weights,
                          const float* biases, int activation, float low, float high, float scale, float* out) {
    const Shape shape = {activation, low, high};
    const size_t out_step = static_cast<size_t>(steps) * outputs;
    for (int o = 0; o < outputs; o += 4 * LANES) {
        const uint16_t* w = weights + static_cast<size_t>(o) * inputs;
        const int kept = (outputs - o + LANES - 1) / LANES;
        for (int t = 0; t < steps; ++t) {
            const uint16_t* now = x + static_cast<size_t>(t) * rows * inputs;
            float* to = out + static_cast<size_t>(t) * outputs + o;
#define BODY(COUNT)                                                                                            \
    {                                                                                                          \
        __m512 sums[COUNT][4];                                                                                 \
        linear_rows<COUNT>(now + static_cast<size_t>(row) * inputs, inputs, inputs / 2, w, biases + o, shape, scale, \
                           sums);                                                                              \
        for (int r = 0; r < COUNT; ++r)                                                                        \
            for (int p = 0; p < 4 && p < kept; ++p) _mm512_storeu_ps(to + (row + r) * out_step + p * LANES, sums[r][p]); \
    }
            IN_ROWS(rows, BODY)
#undef BODY
        }
    }
}

// bfloat16 [steps, rows, inputs] -> bfloat16 [steps, rows, units]; from the last step to the first where
// `reverse`. `cells` float32 [rows, units] is room to work in. Inputs are even, units a multiple of 16.
KERNEL void native_lstm(const uint16_t* x, int steps, int rows, int inputs, int units, int reverse,
                        const uint16_t* weights, const float* biases, float* cells, uint16_t* out) {
    const size_t group = static_cast<size_t>(inputs + units) * 4 * LANES;
    for (int n = 0; n < steps; ++n) {
        const int t = reverse ? steps - 1 - n : n;
        const uint16_t* now = x + static_cast<size_t>(t) * rows * inputs;
        uint16_t* state = out + static_cast<size_t>(t) * rows * units;
        const uint16_t* before = n == 0 ? nullptr : out + static_cast<size_t>(reverse ? t + 1 : t - 1) * rows * units;
        // The weights of 16 units stay in the first cache while all rows pass.
        for (int u = 0; u < units; u += LANES) {
            const uint16_t* w = weights + (u / LANES) * group;
#define BODY(COUNT)                                                                                       \
    lstm_cells<COUNT>(now + static_cast<size_t>(row) * inputs, inputs,                                    \
                      before ? before + static_cast<size_t>(row) * units : nullptr, units, w, biases + 4 * u, \
                      cells + static_cast<size_t>(row) * units + u, state + static_cast<size_t>(row) * units + u);
            IN_ROWS(rows, BODY)
#undef BODY
        }
    }
}

// Floats of room that native_best_path needs.
size_t native_best_path_room(int steps, int states) {
    return static_cast<size_t>(steps) * states * 4 + static_cast<size_t>(steps + 1) * states +
           static_cast<size_t>(steps) * 2 + static_cast<size_t>(states) * 8 + static_cast<size_t>(steps) * states / 4 + 64;
}

// The path of one chunk that maximises the product of its steps' posteriors, in the lattice of models/crf.py.
// scores float32 [steps, states, 4], staying scores `blank`; states are a multiple of 64. Fills moves [steps], path
// [steps] (the state after each step) and sure [steps] (the posterior of that state). `least` is added to posteriors.
//
// Forwards: alpha, as rescaled probabilities. Backwards, in one pass: beta, the posteriors, and for each state the
// best way to the end; so that no posterior is ever stored, and the path is read off forwards.
KERNEL void native_best_path(const float* scores, int steps, int states, float blank, float least, float* room,
                             uint8_t* moves, int64_t* path, float* sure) {
    const int quarter = states / 4;
    float* weights = room;                                            // [steps, states, 4]
    float* alphas = weights + static_cast<size_t>(steps) * states * 4;  // [steps + 1, states]
    float* stays = alphas + static_cast<size_t>(steps + 1) * states;    // [steps]
    float* norms = stays + steps;                                       // [steps]
    float* beta = norms + steps;
    float* best = beta + states;
    float* alpha_by = best + states;
    float* beta_by = alpha_by + states;
    float* best_by = beta_by + states;
    float* beta_next = best_by + states;
    float* best_next = beta_next + states;
    uint8_t* choices = reinterpret_cast<uint8_t*>(best_next + states);  // [steps, states], by source
    const __m512i transposed = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m512i each_four_times = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);

    for (int s = 0; s < states; ++s) alphas[s] = 1.0f / static_cast<float>(states);
    for (int t = 0; t < steps; ++t) {
        const float* now = scores + static_cast<size_t>(t) * states * 4;
        float* w = weights + static_cast<size_t>(t) * states * 4;
        const float* alpha = alphas + static_cast<size_t>(t) * states;
        float* next = alphas + static_cast<size_t>(t + 1) * states;
        __m512 top = _mm512_set1_ps(blank);
        for (int k = 0; k < states * 4; k += LANES) top = _mm512_max_ps(top, _mm512_loadu_ps(now + k));
        const float highest = _mm512_reduce_max_ps(top);
        const __m512 offset = _mm512_set1_ps(-highest * LOG2_E);
        const __m512 stay = exp2_ps(_mm512_fmadd_ps(_mm512_set1_ps(blank), _mm512_set1_ps(LOG2_E), offset));
        stays[t] = _mm512_cvtss_f32(stay);
        to_by_source(alpha, quarter, alpha_by);
        __m512 total = _mm512_setzero_ps();
        for (int s = 0; s < states; s += LANES) {
            __m512 v[4];
            for (int c = 0; c < 4; ++c) {
                const int at = 4 * s + c * LANES;
                const __m512 e = exp2_ps(_mm512_fmadd_ps(_mm512_loadu_ps(now + at), _mm512_set1_ps(LOG2_E), offset));
                _mm512_storeu_ps(w + at, e);
                v[c] = _mm512_mul_ps(e, four_times(alpha_by + s + 4 * c));
            }
            transpose_within(v);
            const __m512 moved = _mm512_permutexvar_ps(transposed, sum_of(v));
            const __m512 value = _mm512_fmadd_ps(_mm512_loadu_ps(alpha + s), stay, moved);
            _mm512_storeu_ps(next + s, value);
            total = _mm512_add_ps(total, value);
        }
        norms[t] = _mm512_reduce_add_ps(total);
        const __m512 scale = _mm512_set1_ps(1.0f / norms[t]);
        for (int s = 0; s < states; s += LANES)
            _mm512_storeu_ps(next + s, _mm512_mul_ps(_mm512_loadu_ps(next + s), scale));
    }

    for (int s = 0; s < states; ++s) beta[s] = best[s] = 1.0f;
    for (int t = steps - 1; t >= 0; --t) {
        const float* w = weights + static_cast<size_t>(t) * states * 4;
        float* after = alphas + static_cast<size_t>(t + 1) * states;
        __m512 total = _mm512_setzero_ps();
        for (int s = 0; s < states; s += LANES) {
            // The posterior of each state after this step takes the place of alpha, which is not needed any more.
            const __m512 both = _mm512_mul_ps(_mm512_loadu_ps(after + s), _mm512_loadu_ps(beta + s));
            _mm512_storeu_ps(after + s, both);
            total = _mm512_add_ps(total, both);
        }
        const float inverse = 1.0f / _mm512_reduce_add_ps(total);
        for (int s = 0; s < states; s += LANES)
            _mm512_storeu_ps(after + s, _mm512_mul_ps(_mm512_loadu_ps(after + s), _mm512_set1_ps(inverse)));
        const __m512 scale = _mm512_set1_ps(inverse / norms[t]), stay = _mm512_set1_ps(stays[t]);
        const __m512 floor = _mm512_set1_ps(least);
        to_by_source(alphas + static_cast<size_t>(t) * states, quarter, alpha_by);
        to_by_source(beta, quarter, beta_by);
        to_by_source(best, quarter, best_by);
        __m512 beta_top = _mm512_setzero_ps(), best_top = _mm512_setzero_ps();
        for (int s = 0; s < states; s += LANES) {
            __m512 v[4], m[4];
            const __m512 betas = _mm512_loadu_ps(beta + s), bests = _mm512_loadu_ps(best + s);
            __m512i index = each_four_times;
            for (int c = 0; c < 4; ++c) {
                v[c] = _mm512_mul_ps(_mm512_loadu_ps(w + 4 * s + c * LANES), _mm512_permutexvar_ps(index, betas));
                const __m512 posterior = _mm512_mul_ps(_mm512_mul_ps(v[c], four_times(alpha_by + s + 4 * c)), scale);
                m[c] = _mm512_mul_ps(_mm512_add_ps(posterior, floor), _mm512_permutexvar_ps(index, bests));
                index = _mm512_add_epi32(index, _mm512_set1_epi32(4));
            }
            transpose_quarters(v);
            transpose_quarters(m);
            const __m512 stayed = _mm512_mul_ps(_mm512_loadu_ps(beta_by + s), stay);
            const __m512 before = _mm512_add_ps(sum_of(v), stayed);
            const __m512 posterior = _mm512_mul_ps(_mm512_mul_ps(stayed, _mm512_loadu_ps(alpha_by + s)), scale);
            __m512 top = _mm512_mul_ps(_mm512_add_ps(posterior, floor), _mm512_loadu_ps(best_by + s));
            __m512i choice = _mm512_setzero_si512();
            for (int i = 0; i < 4; ++i) {
                const __mmask16 better = _mm512_cmp_ps_mask(m[i], top, _CMP_GT_OQ);
                top = _mm512_mask_mov_ps(top, better, m[i]);
                choice = _mm512_mask_mov_epi32(choice, better, _mm512_set1_epi32(1 + i));
            }
            _mm512_storeu_ps(beta_next + s, before);
            _mm512_storeu_ps(best_next + s, top);
            beta_top = _mm512_max_ps(beta_top, before);
            best_top = _mm512_max_ps(best_top, top);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(choices + static_cast<size_t>(t) * states + s),
                             _mm512_cvtepi32_epi8(choice));
        }
        from_by_source(beta_next, quarter, 1.0f / _mm512_reduce_max_ps(beta_top), beta);
        from_by_source(best_next, quarter, 1.0f / _mm512_reduce_max_ps(best_top), best);
    }

    int64_t state = 0;
    for (int s = 1; s < states; ++s)
        if (best[s] > best[state]) state = s;
    for (int t = 0; t < steps; ++t) {
        const int64_t source = 4 * (state % quarter);
        const uint8_t choice = choices[static_cast<size_t>(t) * states + source + state / quarter];
        moves[t] = choice > 0;
        if (choice > 0) state = source + choice - 1;
        path[t] = state;
        sure[t] = alphas[static_cast<size_t>(t + 1) * states + state];
    }
}

}  // extern "C"

#else

extern "C" int native_supported() { return 0; }

#endif
