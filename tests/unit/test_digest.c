/* Digests against OpenSSL's own GMAC, and that everything which should make a difference does. */
#include "tests/unit/guest_memory.h"

#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "lockstep/digest.h"

static uint8_t key[DIGEST_KEY_SIZE];
static struct digest_context context;

static void setup(void)
{
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 17 + 3);
	must_succeed(digest_create(&context, key));
}

static void teardown(void)
{
	digest_destroy(&context);
	ck_assert_ptr_null(context.cipher);
	digest_destroy(&context);
}

/* GMAC by another of OpenSSL's interfaces; the nonce is the domain, three zeros, and the number. */
static struct digest gmac(uint8_t domain, uint64_t number, const void *data, size_t length)
{
	uint8_t nonce[12] = { domain };
	char cipher[] = "AES-128-GCM";
	struct digest digest;
	size_t got = 0;

	bytes_store_u64(nonce + 4, number);
	EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "GMAC", NULL);
	EVP_MAC_CTX *mac = EVP_MAC_CTX_new(algorithm);
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string("cipher", cipher, 0),
		OSSL_PARAM_construct_octet_string("iv", nonce, sizeof(nonce)),
		OSSL_PARAM_construct_end(),
	};

	ck_assert_int_eq(EVP_MAC_init(mac, key, sizeof(key), parameters), 1);
	ck_assert_int_eq(EVP_MAC_update(mac, data, length), 1);
	ck_assert_int_eq(EVP_MAC_final(mac, digest.bytes, &got, sizeof(digest.bytes)), 1);
	ck_assert_uint_eq(got, DIGEST_SIZE);
	EVP_MAC_CTX_free(mac);
	EVP_MAC_free(algorithm);
	return digest;
}

static bool equal(struct digest a, struct digest b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

START_TEST(is_gmac)
{
	static uint8_t data[5000];
	const uint64_t numbers[] = { 0, 1, 0x123456789ABCDEF0, UINT64_MAX };
	const size_t lengths[] = { 0, 1, 15, 16, 17, 4095, 4096, 5000 };

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31);
	for (unsigned domain = DIGEST_PAGE; domain <= DIGEST_FILE; domain++)
		for (size_t n = 0; n < ARRAY_SIZE(numbers); n++)
			for (size_t l = 0; l < ARRAY_SIZE(lengths); l++)
				ck_assert(equal(digest_of(&context, (enum digest_domain)domain, numbers[n], data,
							  lengths[l]),
						gmac((uint8_t)domain, numbers[n], data, lengths[l])));
}
END_TEST

START_TEST(parts_are_the_whole)
{
	static uint8_t data[3000];
	uint64_t seed = 5;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)fixture_random(&seed);
	struct digest whole = digest_of(&context, DIGEST_EXITS, 9, data, sizeof(data));

	for (unsigned round = 0; round < 200; round++) {
		size_t done = 0;

		digest_begin(&context, DIGEST_EXITS, 9);
		while (done < sizeof(data)) {
			size_t part = fixture_random(&seed) % 200;

			if (part > sizeof(data) - done)
				part = sizeof(data) - done;
			digest_add(&context, data + done, part);
			done += part;
		}
		ck_assert(equal(digest_end(&context), whole));
	}
	/* One that was begun and left leaves nothing behind. */
	digest_begin(&context, DIGEST_EXITS, 9);
	digest_add(&context, data, 10);
	ck_assert(equal(digest_of(&context, DIGEST_EXITS, 9, data, sizeof(data)), whole));
}
END_TEST

START_TEST(everything_counts)
{
	uint8_t data[64] = { 0 };
	const struct digest digest = digest_of(&context, DIGEST_CPU, 1, data, sizeof(data));
	struct digest_context other;

	for (unsigned bit = 0; bit < 8 * sizeof(data); bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert(!equal(digest_of(&context, DIGEST_CPU, 1, data, sizeof(data)), digest));
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert(equal(digest_of(&context, DIGEST_CPU, 1, data, sizeof(data)), digest));
	ck_assert(!equal(digest_of(&context, DIGEST_DEVICES, 1, data, sizeof(data)), digest));
	ck_assert(!equal(digest_of(&context, DIGEST_CPU, 2, data, sizeof(data)), digest));
	ck_assert(!equal(digest_of(&context, DIGEST_CPU, 1, data, sizeof(data) - 1), digest));
	for (unsigned bit = 0; bit < 8 * sizeof(key); bit++) {
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		must_succeed(digest_create(&other, key));
		ck_assert(!equal(digest_of(&other, DIGEST_CPU, 1, data, sizeof(data)), digest));
		digest_destroy(&other);
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}
END_TEST

START_TEST(flips)
{
	uint8_t data[96], kept[sizeof(data)];
	uint64_t seed = 8;
	struct digest wanted;
	size_t found;

	for (size_t i = 0; i < sizeof(data); i++)
		kept[i] = (uint8_t)fixture_random(&seed);
	for (size_t bit = 0; bit < 8 * sizeof(data); bit++) {
		memcpy(data, kept, sizeof(data));
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		wanted = digest_of(&context, DIGEST_PAGE, 77, data, sizeof(data));
		memcpy(data, kept, sizeof(data));
		ck_assert(digest_find_flip(&context, DIGEST_PAGE, 77, data, sizeof(data), &wanted, &found));
		ck_assert_uint_eq(found, bit);
		ck_assert_mem_eq(data, kept, sizeof(data));
		/* Of another page, in another domain. */
		ck_assert(!digest_find_flip(&context, DIGEST_PAGE, 78, data, sizeof(data), &wanted, &found));
		ck_assert(!digest_find_flip(&context, DIGEST_CPU, 77, data, sizeof(data), &wanted, &found));
	}
	/* None, and two. */
	wanted = digest_of(&context, DIGEST_PAGE, 77, kept, sizeof(kept));
	ck_assert(!digest_find_flip(&context, DIGEST_PAGE, 77, data, sizeof(data), &wanted, &found));
	data[5] ^= 0x11;
	ck_assert(!digest_find_flip(&context, DIGEST_PAGE, 77, data, sizeof(data), &wanted, &found));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("digest");
	TCase *tests = tcase_create("GMAC");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, is_gmac);
	tcase_add_test(tests, parts_are_the_whole);
	tcase_add_test(tests, everything_counts);
	tcase_add_test(tests, flips);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
