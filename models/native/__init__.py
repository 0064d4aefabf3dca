"""The recurrent networks on CPUs with AVX-512 VNNI; see `native.cpp`."""
