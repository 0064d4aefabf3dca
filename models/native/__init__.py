"""The recurrent networks on CPUs with AVX-512 BF16; see `native.cpp`."""
