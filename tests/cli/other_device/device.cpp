// A device named PrivateUse1 whose memory is a part of the CPU's. Each operation is done by the CPU's own kernel, and refuses, as a GPU's
// does, tensors and random numbers of another device. So the same program gives the same numbers on it, unless it mixes devices.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/InferSize.h>
#include <ATen/NativeFunctions.h>
#include <ATen/TensorUtils.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

namespace {

using at::IntArrayRef;
using at::Tensor;
using c10::SymIntArrayRef;
using MaybeTensor = std::optional<Tensor>;

constexpr auto OURS = c10::DeviceType::PrivateUse1;
const c10::Device DEVICE(OURS, 0);
const c10::DispatchKeySet KEYS(c10::DispatchKey::PrivateUse1);

// Memory

void release(void* memory) { c10::free_cpu(memory); }

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = c10::alloc_cpu(bytes);
    return {memory, memory, &release, DEVICE};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

Memory memory;
REGISTER_ALLOCATOR(OURS, &memory);

Tensor empty(IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device>,
             std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, KEYS, c10::dtype_or_default(type), format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                     std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, KEYS, c10::dtype_or_default(type));
}

// The same numbers in the same memory, as a tensor of the CPU.
Tensor as_cpu(const Tensor& tensor) {
  if (!tensor.defined() || tensor.device() != DEVICE) return tensor;
  auto storage = tensor.storage();
  int64_t count = storage.nbytes() / tensor.element_size();
  auto all = at::from_blob(storage.mutable_data(), {count}, [storage](void*) {}, at::TensorOptions().dtype(tensor.dtype()));
  return all.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
}

Tensor copied_here(const Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  auto made = at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(DEVICE));
  as_cpu(made).copy_(tensor);
  return made;
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  as_cpu(to).copy_(as_cpu(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  if (from.sizes() != to.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar number(const Tensor& tensor) { return as_cpu(tensor).item(); }

const Tensor& resize_(const Tensor& tensor, SymIntArrayRef symbolic, std::optional<at::MemoryFormat>) {
  auto size = C10_AS_INTARRAYREF_SLOW(symbolic);
  size_t bytes = (c10::multiply_integers(size) + tensor.storage_offset()) * tensor.element_size();
  auto storage = tensor.storage();
  if (storage.nbytes() < bytes) {
    auto larger = memory.allocate(bytes);
    std::memcpy(larger.get(), storage.data(), storage.nbytes());
    storage.unsafeGetStorageImpl()->set_data_ptr(std::move(larger));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return tensor;
}

Tensor& set_part(Tensor& tensor, at::Storage storage, int64_t offset, IntArrayRef size, IntArrayRef stride) {
  tensor.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride, offset);
  return tensor;
}

Tensor& set_whole(Tensor& tensor, at::Storage storage) {
  int64_t count = storage.nbytes() / tensor.element_size();
  return set_part(tensor, storage, 0, {count}, {1});
}

// Views

Tensor as_strided(const Tensor& tensor, SymIntArrayRef size, SymIntArrayRef stride, std::optional<c10::SymInt> offset) {
  auto from = offset.has_value() ? std::optional<int64_t>(offset->expect_int()) : std::nullopt;
  return at::native::as_strided_tensorimpl(tensor, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), from);
}

Tensor reshape_alias(const Tensor& tensor, SymIntArrayRef size, SymIntArrayRef stride) {
  return as_strided(tensor, size, stride, c10::SymInt(tensor.storage_offset()));
}

Tensor view(const Tensor& tensor, SymIntArrayRef symbolic) {
  auto size = at::infer_size_dv(C10_AS_INTARRAYREF_SLOW(symbolic), tensor.numel());
  auto stride = at::detail::computeStride(tensor.sizes(), tensor.strides(), size);
  TORCH_CHECK(stride.has_value(), "view size is not compatible with input tensor's size and stride; use reshape");
  return at::native::as_strided_tensorimpl(tensor, size, *stride, tensor.storage_offset());
}

// Operations

void must_be_here(const Tensor& tensor) {
  TORCH_CHECK(!tensor.defined() || tensor.device() == DEVICE, "found a tensor on ", tensor.device(), " beside others on ", DEVICE);
}

MaybeTensor as_cpu(const MaybeTensor& tensor) {
  if (!tensor.has_value()) return {};
  must_be_here(*tensor);
  return as_cpu(*tensor);
}

Tensor convolution(const Tensor& input, const Tensor& weight, const MaybeTensor& bias, IntArrayRef stride, IntArrayRef padding,
                   IntArrayRef dilation, bool transposed, IntArrayRef output_padding, int64_t groups) {
  must_be_here(input), must_be_here(weight);
  return copied_here(at::convolution(as_cpu(input), as_cpu(weight), as_cpu(bias), stride, padding, dilation, transposed, output_padding, groups));
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& gradient, const Tensor& input, const Tensor& weight, IntArrayRef stride,
                                                        IntArrayRef padding, IntArrayRef dilation, bool transposed,
                                                        IntArrayRef output_padding, int64_t groups, std::array<bool, 3> wanted) {
  must_be_here(gradient), must_be_here(input), must_be_here(weight);
  std::vector<int64_t> bias{transposed ? weight.size(1) * groups : weight.size(0)};
  auto [of_input, of_weight, of_bias] = at::convolution_backward(as_cpu(gradient), as_cpu(input), as_cpu(weight), at::OptionalIntArrayRef(bias),
      stride, padding, dilation, transposed, output_padding, groups, wanted);
  return {copied_here(of_input), copied_here(of_weight), copied_here(of_bias)};
}

// It changes its running statistics, of which its schema does not tell.
std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor& input, const MaybeTensor& weight, const MaybeTensor& bias, const MaybeTensor& mean,
                                              const MaybeTensor& variance, bool training, double momentum, double epsilon) {
  must_be_here(input);
  auto [output, mean_used, deviation_used] = at::native_batch_norm(as_cpu(input), as_cpu(weight), as_cpu(bias), as_cpu(mean), as_cpu(variance),
      training, momentum, epsilon);
  return {copied_here(output), copied_here(mean_used), copied_here(deviation_used)};
}

// Random numbers

struct Generator final : c10::GeneratorImpl {
  at::Generator drawn_by = at::detail::createCPUGenerator();

  Generator() : c10::GeneratorImpl(DEVICE, KEYS) {}
  void set_current_seed(uint64_t seed) override { drawn_by.set_current_seed(seed); }
  void set_offset(uint64_t offset) override { drawn_by.set_offset(offset); }
  uint64_t get_offset() const override { return drawn_by.get_offset(); }
  uint64_t current_seed() const override { return drawn_by.current_seed(); }
  uint64_t seed() override { return drawn_by.seed(); }
  void set_state(const c10::TensorImpl& state) override { drawn_by.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return drawn_by.unsafeGetGeneratorImpl()->get_state(); }
  Generator* clone_impl() const override {
    auto* other = new Generator();
    other->drawn_by = drawn_by.clone();
    return other;
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  bool isPinnedPtr(const void*) const override { return false; }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::DeviceType::CPU); }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::make_generator<Generator>(); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static auto generator = at::make_generator<Generator>();
    return generator;
  }
};

Hooks hooks;
const bool registered = (at::RegisterPrivateUse1HooksInterface(&hooks), true);

// Everything else. As on a GPU, a number without dimensions may be the CPU's, and so may the indices into a tensor.
void other_operation(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto& name = operation.schema().name();
  const auto count = operation.schema().arguments().size(), first = stack->size() - count;
  const bool indexes = name.find("index") != std::string::npos;
  bool here = false, elsewhere = false;
  auto look = [&](const Tensor& tensor) {
    if (!tensor.defined()) return;
    here |= tensor.device() == DEVICE;
    elsewhere |= tensor.device() != DEVICE && tensor.dim() > 0;
  };
  for (size_t i = first; i < stack->size(); ++i) {
    auto& value = (*stack)[i];
    if (value.isTensor()) look(value.toTensor());
    if (value.isTensorList()) for (const Tensor& tensor : value.toTensorVector()) look(tensor);
    if (value.isOptionalTensorList() && !indexes)
      for (const MaybeTensor& tensor : value.toOptionalTensorVector()) look(tensor.value_or(Tensor()));
    if (value.isGenerator()) {
      auto generator = value.toGenerator();
      TORCH_CHECK(generator.device() == DEVICE, name, ": expected a generator on ", DEVICE, " but found one on ", generator.device());
      value = c10::IValue(static_cast<Generator*>(generator.unsafeGetGeneratorImpl())->drawn_by);
    }
  }
  TORCH_CHECK(!(here && elsewhere), name, ": expected all tensors to be on the same device, but found ", DEVICE, " and another");
  at::native::cpu_fallback(operation, stack);
}

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&other_operation>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &number);
  library.impl("resize_", &resize_);
  library.impl("set_.source_Storage", &set_whole);
  library.impl("set_.source_Storage_storage_offset", &set_part);
  library.impl("as_strided", &as_strided);
  library.impl("_reshape_alias", &reshape_alias);
  library.impl("view", &view);
  library.impl("unfold", &at::native::unfold);
  library.impl("convolution_overrideable", &convolution);
  library.impl("convolution_backward_overrideable", &convolution_backward);
  library.impl("native_batch_norm", &batch_norm);
}
