// TLS over env::Stream: OpenSSL reads and writes through a BIO of ours, so that any stream will do.
#include <arpa/inet.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "wire/io.h"
#include "wire/tls_context.h"

namespace knarr::wire {
namespace {

// One TLS record and its header: a read takes that much at once, instead of the header and the body
// by turns.
constexpr size_t kReadAheadBytes = 17 << 10;

// The BIO's end of the raw stream.
struct Transport {
  std::unique_ptr<env::Stream> raw;
  std::string readAhead;
  size_t readFrom = 0;
  env::IoStep failure{};  // what ended the raw stream
  bool ended = false;

  int read(BIO* bio, char* into, int size) {
    BIO_clear_retry_flags(bio);
    if (readFrom == readAhead.size()) {
      char buffer[kReadAheadBytes];
      env::IoStep step = raw->read(buffer);
      if (step.kind == env::IoStep::WouldBlock) {
        readAhead = {};
        readFrom = 0;
        BIO_set_retry_read(bio);
        return -1;
      }
      if (step.kind != env::IoStep::Done) {
        failure = step;
        ended = true;
        return 0;
      }
      // A short read needs no copy kept.
      size_t direct = std::min(static_cast<size_t>(size), step.bytes);
      std::memcpy(into, buffer, direct);
      readAhead.assign(buffer + direct, step.bytes - direct);
      readFrom = 0;
      return static_cast<int>(direct);
    }
    size_t count = readAhead.copy(into, static_cast<size_t>(size), readFrom);
    readFrom += count;
    return static_cast<int>(count);
  }
  int write(BIO* bio, const char* from, int size) {
    BIO_clear_retry_flags(bio);
    env::IoStep step = raw->write(std::span(from, static_cast<size_t>(size)));
    if (step.kind == env::IoStep::Done) return static_cast<int>(step.bytes);
    if (step.kind == env::IoStep::WouldBlock) {
      BIO_set_retry_write(bio);
      return -1;
    }
    failure = step;
    return -1;
  }
};

Transport* transportOf(BIO* bio) { return static_cast<Transport*>(BIO_get_data(bio)); }
int bioRead(BIO* bio, char* into, int size) { return transportOf(bio)->read(bio, into, size); }
int bioWrite(BIO* bio, const char* from, int size) { return transportOf(bio)->write(bio, from, size); }
long bioControl(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return transportOf(bio)->ended ? 1 : 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* bioMethod() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "knarr stream");
    BIO_meth_set_read(made, bioRead);
    BIO_meth_set_write(made, bioWrite);
    BIO_meth_set_ctrl(made, bioControl);
    return made;
  }();
  return method;
}

class OpensslStream final : public TlsStream {
 public:
  OpensslStream(env::Env environment, std::shared_ptr<const TlsSettings> settings, std::unique_ptr<env::Stream> raw)
      : environment_(environment), settings_(std::move(settings)), ssl_(SSL_new(settings_->context.get())) {
    transport_.raw = std::move(raw);
    verification_.settings = settings_.get();
    SSL_set_ex_data(ssl_.get(), tlsVerificationIndex(), &verification_);
    BIO* bio = BIO_new(bioMethod());
    BIO_set_data(bio, &transport_);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    if (settings_->server) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
    }
  }
  ~OpensslStream() override {
    sendCloseNotify();
    ERR_clear_error();
  }

  void expectServer(const std::string& name) {
    if (settings_->insecureSkipVerify) {
      // Nothing is compared; the name is still announced below.
    } else if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), name.c_str()) != 1) {
      ERR_clear_error();
      SSL_set1_host(ssl_.get(), name.c_str());
    }
    in6_addr ignored;
    bool isAddress = inet_pton(AF_INET, name.c_str(), &ignored) == 1 || inet_pton(AF_INET6, name.c_str(), &ignored) == 1;
    if (!isAddress && !name.empty()) SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
  }

  void offer(const std::vector<std::string>& alpn) {
    std::string wire;
    for (const std::string& name : alpn) wire += static_cast<char>(name.size()) + name;
    if (!wire.empty())
      SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(wire.data()), static_cast<unsigned>(wire.size()));
  }

  // One step of the handshake. Done when it is over; WouldBlock: wait on waitsFor().
  Result<env::IoStep::Kind> handshakeStep() {
    ERR_clear_error();
    int result = SSL_do_handshake(ssl_.get());
    if (result == 1) {
      handshakeDone_ = true;
      return env::IoStep::Done;
    }
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        waitsFor_ = Direction::Read;
        return env::IoStep::WouldBlock;
      case SSL_ERROR_WANT_WRITE:
        waitsFor_ = Direction::Write;
        return env::IoStep::WouldBlock;
      default: {
        std::string why = !verification_.error.empty() ? "x509: " + verification_.error
                          : transport_.ended           ? "the peer closed the connection"
                                                       : opensslError();
        ERR_clear_error();
        return fail(Reason::ServiceUnavailable, "TLS handshake with " + peerAddress() + ": " + why);
      }
    }
  }
  Direction waitsFor() const { return waitsFor_; }
  env::Stream* raw() const { return transport_.raw.get(); }

  env::IoStep read(std::span<char> into) override {
    if (into.empty()) return {env::IoStep::Done};
    ERR_clear_error();
    size_t got = 0;
    int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &got);
    if (result == 1) return {env::IoStep::Done, got};
    return stepFromError(result, &readWaitsFor_);
  }
  env::IoStep write(std::span<const char> from) override {
    if (from.empty()) return {env::IoStep::Done};
    ERR_clear_error();
    size_t put = 0;
    int result = SSL_write_ex(ssl_.get(), from.data(), from.size(), &put);
    if (result == 1) return {env::IoStep::Done, put};
    return stepFromError(result, &writeWaitsFor_);
  }
  void whenReadable(env::Callback ready) override {
    *pending_ = nullptr;
    bool buffered = SSL_pending(ssl_.get()) > 0 || transport_.readFrom < transport_.readAhead.size();
    if (ready && buffered) {
      *pending_ = std::move(ready);
      environment_.executor.post([weak = std::weak_ptr(pending_)] {
        auto pending = weak.lock();
        if (!pending) return;
        if (env::Callback run = std::exchange(*pending, nullptr)) run();
      });
      return;
    }
    if (readWaitsFor_ == Direction::Write && ready) return transport_.raw->whenWritable(std::move(ready));
    transport_.raw->whenReadable(std::move(ready));
  }
  void whenWritable(env::Callback ready) override {
    if (writeWaitsFor_ == Direction::Read && ready) return transport_.raw->whenReadable(std::move(ready));
    transport_.raw->whenWritable(std::move(ready));
  }
  void shutdownWrite() override {
    sendCloseNotify();
    transport_.raw->shutdownWrite();
  }
  std::string peerAddress() const override { return transport_.raw->peerAddress(); }
  std::string localAddress() const override { return transport_.raw->localAddress(); }

  std::string alpn() const override {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return name ? std::string(reinterpret_cast<const char*>(name), size) : std::string();
  }
  std::string version() const override { return SSL_get_version(ssl_.get()); }
  std::shared_ptr<const TlsPeer> peer() const override { return peer_; }
  void readPeer();

 private:
  env::IoStep stepFromError(int result, Direction* waitsFor) {
    int error = SSL_get_error(ssl_.get(), result);
    *waitsFor = error == SSL_ERROR_WANT_WRITE ? Direction::Write : Direction::Read;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {env::IoStep::WouldBlock};
    // After a failure OpenSSL allows no further call but SSL_free.
    if (error == SSL_ERROR_ZERO_RETURN) return {env::IoStep::Eof};
    failed_ = true;
    ERR_clear_error();
    if (transport_.failure.kind == env::IoStep::Failed) return transport_.failure;
    // A connection cut without close_notify, or a record that does not decrypt.
    return {env::IoStep::Failed, 0, transport_.ended ? ECONNRESET : EPROTO};
  }
  void sendCloseNotify() {
    if (!handshakeDone_ || failed_ || std::exchange(closeNotifySent_, true)) return;
    ERR_clear_error();
    (void)SSL_shutdown(ssl_.get());  // a peer that is gone needs no farewell
  }

  env::Env environment_;
  std::shared_ptr<const TlsSettings> settings_;
  Transport transport_;
  TlsVerification verification_;
  SslPtr ssl_;
  Direction waitsFor_ = Direction::Read;
  Direction readWaitsFor_ = Direction::Read;
  Direction writeWaitsFor_ = Direction::Write;
  bool handshakeDone_ = false;
  bool failed_ = false;
  bool closeNotifySent_ = false;
  std::shared_ptr<const TlsPeer> peer_;
  std::shared_ptr<env::Callback> pending_ = std::make_shared<env::Callback>();
};

int64_t unixSecondsOfTime(const ASN1_TIME* time) {
  tm parts{};
  if (!ASN1_TIME_to_tm(time, &parts)) return 0;
  return unixFromCivil({parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec});
}

void OpensslStream::readPeer() {
  X509* leaf = SSL_get0_peer_certificate(ssl_.get());
  if (!leaf || !settings_->server) return;
  auto peer = std::make_shared<TlsPeer>();
  const X509_NAME* subject = X509_get_subject_name(leaf);
  // Source: Go's pkix.Name.FillFromRDNSequence: the last CN counts.
  auto names = nameValues(subject, NID_commonName);
  if (!names.empty()) peer->commonName = names.back();
  peer->organizations = nameValues(subject, NID_organizationName);
  // Source: k8s.io/apiserver/pkg/authentication/request/x509, the UID's object identifier.
  std::unique_ptr<ASN1_OBJECT, OpensslFree<ASN1_OBJECT_free>> uid(OBJ_txt2obj("1.3.6.1.4.1.57683.2", 1));
  auto uids = nameValues(subject, uid.get());
  if (!uids.empty()) peer->uid = uids.front();
  peer->chainDer.push_back(derOf(leaf));
  // On the server's side the chain of OpenSSL leaves the leaf out.
  STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl_.get());
  for (int i = 0; i < sk_X509_num(chain); ++i) peer->chainDer.push_back(derOf(sk_X509_value(chain, i)));
  peer->notAfterUnixSeconds = unixSecondsOfTime(X509_get0_notAfter(leaf));
  peer->verified = verification_.verified;
  peer->verifyError = verification_.error;
  peer_ = std::move(peer);
}

async::Task<Result<std::unique_ptr<TlsStream>>> runHandshake(env::Env environment, std::unique_ptr<OpensslStream> stream,
                                                             env::Duration timeout) {
  env::Instant deadline = environment.clock.now() + timeout;
  while (CO_TRY(stream->handshakeStep()) != env::IoStep::Done) {
    if (!co_await waitReady(environment, stream->raw(), stream->waitsFor(), deadline))
      co_return fail(Reason::Timeout, "TLS handshake with " + stream->peerAddress() + ": timed out");
  }
  stream->readPeer();
  co_return std::move(stream);
}

}  // namespace

async::Task<Result<std::unique_ptr<TlsStream>>> acceptTls(env::Env environment, std::shared_ptr<TlsServerContext> context,
                                                          std::unique_ptr<env::Stream> raw, env::Duration timeout) {
  auto stream = std::make_unique<OpensslStream>(environment, context->state()->current, std::move(raw));
  return runHandshake(environment, std::move(stream), timeout);
}

async::Task<Result<std::unique_ptr<TlsStream>>> connectTls(env::Env environment, std::shared_ptr<TlsClientContext> context,
                                                           std::unique_ptr<env::Stream> raw, std::string serverName,
                                                           env::Duration timeout, std::vector<std::string> alpn) {
  auto stream = std::make_unique<OpensslStream>(environment, context->state()->current, std::move(raw));
  stream->expectServer(serverName);
  stream->offer(alpn);
  return runHandshake(environment, std::move(stream), timeout);
}

}  // namespace knarr::wire
