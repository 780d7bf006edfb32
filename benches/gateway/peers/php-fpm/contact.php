<?php
declare(strict_types=1);

const EMAIL = '/^[\w.%+\'-]+@(?:[a-z0-9-]+\.)+[a-z]{2,}$/iD';

function answer(int $status, array $body): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($body);
    exit;
}

function first(array $form, string ...$keys): string
{
    foreach ($keys as $key) {
        $value = $form[$key] ?? '';
        if (is_string($value) && $value !== '') {
            return $value;
        }
    }
    return '';
}

function deliver(array $lead): bool
{
    $curl = curl_init($_SERVER['UPSTREAM'] . '/api/v1/wordpress/intake');
    curl_setopt_array($curl, [
        CURLOPT_POSTFIELDS => json_encode($lead, JSON_THROW_ON_ERROR),
        CURLOPT_HTTPHEADER => [
            'Content-Type: application/json',
            'Authorization: Bearer wp_pk_bench:wp_sk_bench',
        ],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 30,
    ]);
    return curl_exec($curl) !== false
        && intdiv(curl_getinfo($curl, CURLINFO_RESPONSE_CODE), 100) === 2;
}

$form = $_POST;
if (str_starts_with($_SERVER['CONTENT_TYPE'] ?? '', 'application/json')) {
    $form = json_decode(file_get_contents('php://input'), true);
    if (!is_array($form)) {
        answer(400, ['success' => false, 'error' => 'body']);
    }
}

$lead = [
    'name' => first($form, 'Name', 'your-name') ?: trim(first($form, '1.3') . ' ' . first($form, '1.6')),
    'email' => first($form, 'Email', 'your-email', '2'),
    'phone' => first($form, 'Phone', 'your-tel', '3'),
    'message' => first($form, 'Message', 'your-message', '4'),
];
if (!preg_match(EMAIL, $lead['email'])) {
    answer(422, ['success' => false, 'error' => 'email']);
}
$taken = deliver($lead);
answer($taken ? 200 : 502, ['success' => $taken]);
